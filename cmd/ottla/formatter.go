package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/record"
)

// formatter writes records in the columns that its properties ask for (DefaultMessageFormatter, F§7.3).
type formatter struct {
	timestamp, partition, offset, epoch, headers, key, value bool

	keySeparator, lineSeparator, headersSeparator, null []byte

	keyText, valueText, headerText deserializer

	number []byte // scratch
}

// deserializer appends the text of a key or value to b. It fails on bytes that it cannot read.
type deserializer func(b, data []byte) ([]byte, error)

// newFormatter reads the properties of the formatter. Unknown ones mean nothing, as in Kafka.
func newFormatter(p config.Properties) (*formatter, error) {
	on := func(name string, fallback bool) bool {
		if text, ok := p[name]; ok {
			return strings.EqualFold(strings.TrimSpace(text), "true")
		}
		return fallback
	}
	separator := func(name, fallback string) []byte {
		if text, ok := p[name]; ok {
			return []byte(text)
		}
		return []byte(fallback)
	}
	f := &formatter{
		timestamp: on("print.timestamp", false), partition: on("print.partition", false), offset: on("print.offset", false), epoch: on("print.epoch", false),
		headers: on("print.headers", false), key: on("print.key", false), value: on("print.value", true),
		keySeparator: separator("key.separator", "\t"), lineSeparator: separator("line.separator", "\n"),
		headersSeparator: separator("headers.separator", ","), null: separator("null.literal", "null"),
	}
	var err error
	for name, to := range map[string]*deserializer{"key.deserializer": &f.keyText, "value.deserializer": &f.valueText, "headers.deserializer": &f.headerText} {
		if *to, err = deserializerOf(p[name]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// deserializerOf returns the deserializer with the name of a Java class; "" is the bytes as they are.
func deserializerOf(class string) (deserializer, error) {
	short := class[strings.LastIndexByte(class, '.')+1:]
	size, text := 0, func(b, _ []byte) []byte { return b }
	switch short {
	case "", "StringDeserializer", "ByteArrayDeserializer", "BytesDeserializer", "ByteBufferDeserializer":
		return func(b, data []byte) ([]byte, error) { return append(b, data...), nil }, nil
	case "LongDeserializer":
		size, text = 8, func(b, data []byte) []byte { return strconv.AppendInt(b, int64(binary.BigEndian.Uint64(data)), 10) }
	case "IntegerDeserializer":
		size, text = 4, func(b, data []byte) []byte {
			return strconv.AppendInt(b, int64(int32(binary.BigEndian.Uint32(data))), 10)
		}
	case "ShortDeserializer":
		size, text = 2, func(b, data []byte) []byte {
			return strconv.AppendInt(b, int64(int16(binary.BigEndian.Uint16(data))), 10)
		}
	case "DoubleDeserializer":
		size, text = 8, func(b, data []byte) []byte {
			return strconv.AppendFloat(b, math.Float64frombits(binary.BigEndian.Uint64(data)), 'g', -1, 64)
		}
	case "FloatDeserializer":
		size, text = 4, func(b, data []byte) []byte {
			return strconv.AppendFloat(b, float64(math.Float32frombits(binary.BigEndian.Uint32(data))), 'g', -1, 32)
		}
	default:
		return nil, fmt.Errorf("the deserializer %s is a Java class, which cannot be loaded; there are String, ByteArray, Long, Integer, Short, Double and Float", class)
	}
	return func(b, data []byte) ([]byte, error) {
		if len(data) != size {
			return b, kafkaError("Size of data received by %s is not %d", short, size)
		}
		return text(b, data), nil
	}, nil
}

// write writes a record. Errors of w stay in w, until it is flushed.
func (f *formatter) write(w *bufio.Writer, r *consumer.Record) error {
	if f.timestamp {
		f.writeTimestamp(w, r)
		f.column(w, f.partition || f.offset || f.epoch || f.headers || f.key || f.value)
	}
	if f.partition {
		f.writeNumber(w, "Partition:", int64(r.Partition))
		f.column(w, f.offset || f.epoch || f.headers || f.key || f.value)
	}
	if f.offset {
		f.writeNumber(w, "Offset:", int64(r.Offset))
		f.column(w, f.epoch || f.headers || f.key || f.value)
	}
	if f.epoch {
		f.writeNumber(w, "Epoch:", int64(r.LeaderEpoch))
		f.column(w, f.headers || f.key || f.value)
	}
	if f.headers {
		if err := f.writeHeaders(w, r.Headers); err != nil {
			return err
		}
		f.column(w, f.key || f.value)
	}
	if f.key {
		if err := f.writeBytes(w, f.keyText, r.Key); err != nil {
			return err
		}
		f.column(w, f.value)
	}
	if f.value {
		if err := f.writeBytes(w, f.valueText, r.Value); err != nil {
			return err
		}
		_, _ = w.Write(f.lineSeparator)
	}
	return nil
}

// column ends a column: with the key separator when another follows, with the line separator otherwise.
func (f *formatter) column(w *bufio.Writer, more bool) {
	if more {
		_, _ = w.Write(f.keySeparator)
		return
	}
	_, _ = w.Write(f.lineSeparator)
}

// writeTimestamp writes CreateTime:1729850400000.
func (f *formatter) writeTimestamp(w *bufio.Writer, r *consumer.Record) {
	ms := r.Timestamp.UnixMilli()
	switch {
	case ms < 0:
		_, _ = w.WriteString("NO_TIMESTAMP")
	case r.TimestampType == record.LogAppendTime:
		f.writeNumber(w, "LogAppendTime:", ms)
	default:
		f.writeNumber(w, "CreateTime:", ms)
	}
}

// writeNumber writes a label and a number.
func (f *formatter) writeNumber(w *bufio.Writer, label string, n int64) {
	_, _ = w.WriteString(label)
	f.number = strconv.AppendInt(f.number[:0], n, 10)
	_, _ = w.Write(f.number)
}

// writeHeaders writes k:v,k2:v2.
func (f *formatter) writeHeaders(w *bufio.Writer, headers []record.Header) error {
	if len(headers) == 0 {
		_, _ = w.WriteString("NO_HEADERS")
		return nil
	}
	for i, h := range headers {
		if i > 0 {
			_, _ = w.Write(f.headersSeparator)
		}
		_, _ = w.WriteString(h.Key)
		_ = w.WriteByte(':')
		if err := f.writeBytes(w, f.headerText, h.Value); err != nil {
			return err
		}
	}
	return nil
}

// writeBytes writes a key or value.
func (f *formatter) writeBytes(w *bufio.Writer, text deserializer, data []byte) error {
	if data == nil {
		_, _ = w.Write(f.null)
		return nil
	}
	// The buffer's own free space is the scratch: text of usual size is formatted in place.
	out, err := text(w.AvailableBuffer(), data)
	if err != nil {
		return err
	}
	_, _ = w.Write(out)
	return nil
}
