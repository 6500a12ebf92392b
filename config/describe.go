package config

import "slices"

// Entry is one setting as DescribeConfigs shows it.
type Entry struct {
	// Name of the setting.
	Name string
	// Value in canonical text; empty when the setting is null or sensitive.
	Value string
	// Source is where the value comes from. Anything but [Default] is shown as an override by kafka-topics --describe.
	Source Source
	// ReadOnly is true when the setting cannot change while the broker runs.
	ReadOnly bool
	// Sensitive is true for passwords.
	Sensitive bool
	// Synonyms holds the values from all places, the effective one first.
	Synonyms []Synonym
	// Type of the setting.
	Type Type
	// Doc says what the setting is for.
	Doc string
}

// Synonym is the value that a setting has in one place.
type Synonym struct {
	// Name of the setting in that place.
	Name string
	// Value in canonical text; empty when sensitive.
	Value string
	// Source is the place.
	Source Source
}

// shown returns the text of a value for others to see.
func shown(v value) string {
	if v.typ == Password {
		return ""
	}
	return v.text()
}

// synonyms lists the values that broker settings have: place by place, and in each place setting by setting. Everything before the first value of the
// first setting is dropped, as Kafka does (ConfigHelper.configSynonyms): so log.retention.hours in a file is not
// reported as the source of a topic's retention.ms, although it determines the value.
func (s *Server) synonyms(names []string) []Synonym {
	var list []Synonym
	for _, place := range []struct {
		values map[string]value
		source Source
	}{{s.own, DynamicBroker}, {s.all, DynamicDefaultBroker}, {s.static, StaticBroker}} {
		for _, name := range names {
			if v, ok := place.values[name]; ok {
				list = append(list, Synonym{name, shown(v), place.source})
			}
		}
	}
	for _, name := range names {
		if v := brokerKeys.byName[name].fallback(); !v.null {
			list = append(list, Synonym{name, shown(v), Default})
		}
	}
	first := slices.IndexFunc(list, func(syn Synonym) bool { return syn.Name == names[0] })
	if first < 0 {
		return nil
	}
	return list[first:]
}

// DescribeBroker lists the broker's settings by name.
func (s *Server) DescribeBroker() []Entry {
	var entries []Entry
	for _, k := range brokerKeys.keys {
		v, source := s.lookup(k.Name)
		if k.Dynamic && source == Default {
			continue
		}
		entries = append(entries, Entry{
			Name: k.Name, Value: shown(v), Source: source, ReadOnly: !k.changeable(), Sensitive: k.Type == Password,
			Synonyms: s.synonyms([]string{k.Name}), Type: k.Type, Doc: k.Doc,
		})
	}
	return entries
}

// DescribeBrokerDefaults lists the dynamic settings that all brokers share, by name.
func (s *Server) DescribeBrokerDefaults() []Entry {
	entries := []Entry{}
	for _, k := range brokerKeys.keys {
		if v, ok := s.all[k.Name]; ok {
			entries = append(entries, Entry{
				Name: k.Name, Value: shown(v), Source: DynamicDefaultBroker, Sensitive: k.Type == Password,
				Synonyms: []Synonym{{k.Name, shown(v), DynamicDefaultBroker}}, Type: k.Type, Doc: k.Doc,
			})
		}
	}
	return entries
}

// DescribeTopic lists the effective settings of a topic with these overrides, by name. Overrides that cannot be read are shown as they stand.
func (s *Server) DescribeTopic(overrides map[string]string) []Entry {
	values := map[string]value{}
	for name, text := range overrides {
		k := topicKeys.byName[name]
		if k == nil {
			continue
		}
		v, err := k.parse(text)
		if err != nil {
			v = value{typ: String, s: text}
		}
		values[name] = v
	}
	entries := make([]Entry, 0, len(topicKeys.keys))
	for _, k := range topicKeys.keys {
		e := Entry{Name: k.Name, Value: shown(s.topicValue(values, k.Name)), Source: Default, Type: k.Type, Doc: k.Doc}
		if v, ok := values[k.Name]; ok {
			e.Synonyms = append(e.Synonyms, Synonym{k.Name, shown(v), DynamicTopic})
		}
		var names []string
		for _, syn := range topicSynonyms[k.Name] {
			names = append(names, syn.name)
		}
		if len(names) > 0 {
			e.Synonyms = append(e.Synonyms, s.synonyms(names)...)
		}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		entries = append(entries, e)
	}
	return entries
}

// BrokerKeys returns the table of broker settings, sorted by name.
func BrokerKeys() []Key { return brokerKeys.all() }

// TopicKeys returns the table of topic settings, sorted by name.
func TopicKeys() []Key { return topicKeys.all() }

// all copies the rows of the table.
func (set *keySet) all() []Key {
	list := make([]Key, len(set.keys))
	for i, k := range set.keys {
		list[i] = *k
	}
	return list
}
