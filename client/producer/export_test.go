package producer

// ConfigForTest lets tests write options.
type ConfigForTest = config
