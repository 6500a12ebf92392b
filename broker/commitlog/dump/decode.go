package dump

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/record"
)

// Text is what a decoder makes of a record.
type Text struct {
	// Key and Payload are the texts of key and value.
	Key, Payload string
	// HasKey and HasPayload say whether they are shown at all.
	HasKey, HasPayload bool
}

// Decoder makes text of a record's key and value. After an error what could be decoded is shown all the same.
type Decoder func(r *record.Record) (Text, error)

// Field makes text of a key or of a value. It is not called for null.
type Field func(p []byte) (string, error)

// Strings reads UTF-8; bytes that are none become U+FFFD, one each.
func Strings(p []byte) (string, error) { return javaText(p), nil }

// Integers reads big-endian 32-bit numbers.
func Integers(p []byte) (string, error) {
	if len(p) < 4 {
		return "", fmt.Errorf("%d bytes are no 32-bit integer", len(p))
	}
	return strconv.Itoa(int(int32(binary.BigEndian.Uint32(p)))), nil
}

// Longs reads big-endian 64-bit numbers.
func Longs(p []byte) (string, error) {
	if len(p) < 8 {
		return "", fmt.Errorf("%d bytes are no 64-bit integer", len(p))
	}
	return strconv.FormatInt(int64(binary.BigEndian.Uint64(p)), 10), nil
}

// Bytes shows bytes in hexadecimal digits.
func Bytes(p []byte) (string, error) { return hex.EncodeToString(p), nil }

// javaText is the text that Java makes of UTF-8.
func javaText(p []byte) string { return string([]rune(string(p))) }

// fieldsByClass are Kafka's decoders by the ends of their names.
var fieldsByClass = map[string]Field{"StringDecoder": Strings, "IntegerDecoder": Integers, "LongDecoder": Longs, "DefaultDecoder": Bytes}

// Prefixes of the names of Kafka's decoders, now and before.
const (
	decoderPrefix    = "org.apache.kafka.tools.api."
	oldDecoderPrefix = "kafka.serializer."
)

// FieldByClass returns the decoder that a class of Kafka's stands for. note is not empty when the name is an old one.
func FieldByClass(class string) (f Field, note string, err error) {
	name, old := strings.CutPrefix(class, oldDecoderPrefix)
	if !old {
		name = strings.TrimPrefix(class, decoderPrefix)
	}
	f = fieldsByClass[name]
	if f == nil || !old && name == class {
		return nil, "", fmt.Errorf("the decoder %s cannot be loaded: there are %sStringDecoder, IntegerDecoder, LongDecoder and DefaultDecoder", class, decoderPrefix)
	}
	if old {
		note = fmt.Sprintf("%s is deprecated. Please use %s%s instead", class, decoderPrefix, name)
	}
	return f, note, nil
}

// KeyValue decodes keys and values one by one.
func KeyValue(key, value Field) Decoder {
	return func(r *record.Record) (Text, error) {
		var t Text
		var err error
		if r.Key != nil {
			if t.Key, err = key(r.Key); err != nil {
				return t, fmt.Errorf("key of the record at offset %d: %w", r.Offset, err)
			}
			t.HasKey = true
		}
		if r.Value != nil {
			if t.Payload, err = value(r.Value); err != nil {
				return t, fmt.Errorf("value of the record at offset %d: %w", r.Offset, err)
			}
			t.HasPayload = true
		}
		return t, nil
	}
}

// reader reads the fields of a record of an internal topic, big-endian (F§5.7). The first error stays, and later reads return zeros. Flexible versions have
// compact lengths and tagged fields (KIP-482).
type reader struct {
	p    []byte
	flex bool
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.p = nil
}

func (r *reader) take(n int64) []byte {
	if r.err != nil || n < 0 || n > int64(len(r.p)) {
		r.fail("%d bytes are wanted, %d are left", n, len(r.p))
		return nil
	}
	p := r.p[:n:n]
	r.p = r.p[n:]
	return p
}

func (r *reader) i8() int8 {
	if p := r.take(1); p != nil {
		return int8(p[0])
	}
	return 0
}

func (r *reader) i16() int16 {
	if p := r.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (r *reader) i32() int32 {
	if p := r.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (r *reader) i64() int64 {
	if p := r.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (r *reader) uvarint() int64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 || n > 5 || v > 1<<31 {
		r.fail("a length is no variable-length integer")
		return 0
	}
	r.p = r.p[n:]
	return int64(v)
}

// size reads the length of something; -1 for null.
func (r *reader) size(wide bool) int64 {
	switch {
	case r.flex:
		return r.uvarint() - 1
	case wide:
		return int64(r.i32())
	default:
		return int64(r.i16())
	}
}

// str reads a string; nil for null.
func (r *reader) str() *string {
	n := r.size(false)
	if r.err != nil || n < 0 {
		return nil
	}
	s := javaText(r.take(n))
	return &s
}

// text reads a string that must not be null.
func (r *reader) text(field string) string {
	s := r.str()
	if s == nil {
		r.fail("the field %s is null", field)
		return ""
	}
	return *s
}

// bytes reads bytes; nil for null.
func (r *reader) bytes() []byte {
	n := r.size(true)
	if r.err != nil || n < 0 {
		return nil
	}
	return r.take(n)
}

// count reads the length of an array whose items have at least so many bytes; -1 for null.
func (r *reader) count(item int64) int64 {
	n := r.size(true)
	if r.flex {
		item = 1 // everything in them may be short
	}
	if r.err == nil && n > int64(len(r.p))/item {
		r.fail("an array of %d items in %d bytes", n, len(r.p))
	}
	if r.err != nil {
		return 0
	}
	return n
}

// tags skips the tagged fields that end every structure of a flexible version.
func (r *reader) tags() {
	if !r.flex {
		return
	}
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		r.uvarint()
		r.take(r.uvarint())
	}
}
