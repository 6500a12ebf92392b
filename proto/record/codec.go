package record

import (
	"fmt"
	"strings"
)

// Codec is the compression of a batch's records, as the lowest three attribute bits number it. On disk and on the wire: do
// not change.
type Codec int8

const (
	// None leaves the records as they are.
	None Codec = 0
	// Gzip is RFC 1952.
	Gzip Codec = 1
	// Snappy is blocks of 32 KiB in the framing of the Java library xerial; single blocks without framing are read too.
	Snappy Codec = 2
	// LZ4 is the LZ4 frame format with independent blocks.
	LZ4 Codec = 3
	// Zstd is RFC 8878 with windows up to 8 MiB (KIP-110).
	Zstd Codec = 4
)

// DefaultLevel asks for a codec's usual compression level: gzip 6, zstd 3, lz4 9 (Kafka's number for the fast one).
const DefaultLevel = 0

// codecs is what there is to know about each codec: its name in compression.type and its levels (KIP-390).
var codecs = [...]struct {
	name               string
	minLevel, maxLevel int // both 0: no levels
	defaultLevel       int
}{
	None:   {name: "none"},
	Gzip:   {"gzip", -1, 9, -1},
	Snappy: {name: "snappy"},
	LZ4:    {"lz4", 1, 17, 9},
	Zstd:   {"zstd", -131072, 22, 3},
}

// Valid reports whether the codec exists.
func (c Codec) Valid() bool { return c >= 0 && int(c) < len(codecs) }

// String returns the codec's name in compression.type: none, gzip, snappy, lz4, zstd.
func (c Codec) String() string {
	if !c.Valid() {
		return fmt.Sprintf("codec %d", int8(c))
	}
	return codecs[c].name
}

// ParseCodec is the inverse of [Codec.String]. It also takes "uncompressed", the topic setting's word for none, and any
// case. "producer" is not a codec: whoever reads the topic setting deals with it.
func ParseCodec(name string) (Codec, error) {
	lower := strings.ToLower(name)
	if lower == "uncompressed" {
		return None, nil
	}
	for c := range codecs {
		if codecs[c].name == lower {
			return Codec(c), nil
		}
	}
	return None, fmt.Errorf("parse compression codec %q: want none, uncompressed, gzip, snappy, lz4 or zstd", name)
}

// CheckLevel returns nil if level is one that the codec has, or [DefaultLevel]: gzip 1 to 9 (and -1, its own word for the
// default), lz4 1 to 17, zstd -131072 to 22. Codecs without levels take only DefaultLevel.
func (c Codec) CheckLevel(level int) error {
	switch {
	case !c.Valid():
		return fmt.Errorf("check compression level %d: there is no %s", level, c)
	case level == DefaultLevel:
		return nil
	case codecs[c].maxLevel == 0:
		return fmt.Errorf("check compression level %d: %s has no levels", level, c)
	case level < codecs[c].minLevel || level > codecs[c].maxLevel:
		return fmt.Errorf("check compression level %d: %s has levels %d to %d", level, c, codecs[c].minLevel, codecs[c].maxLevel)
	}
	return nil
}
