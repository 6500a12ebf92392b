package main

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/record"
)

func TestFormatter(t *testing.T) {
	r := consumer.Record{
		Topic: "t", Partition: 3, Offset: 42, LeaderEpoch: 7, Timestamp: time.UnixMilli(1729850400123), Key: []byte("k"), Value: []byte("v\xff"),
		Headers: []record.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}},
	}
	empty := consumer.Record{Timestamp: time.UnixMilli(-1), TimestampType: record.LogAppendTime}
	appended := consumer.Record{Timestamp: time.UnixMilli(5), TimestampType: record.LogAppendTime, Value: []byte{}}
	number := consumer.Record{Key: []byte{0, 0, 0, 5}, Value: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}}
	on := func(names ...string) config.Properties {
		p := config.Properties{}
		for _, n := range names {
			p["print."+n] = "true"
		}
		return p
	}
	everything := on("timestamp", "partition", "offset", "epoch", "headers", "key")
	for _, c := range []struct {
		name string
		p    config.Properties
		r    consumer.Record
		want string
	}{
		{"the value alone", nil, r, "v\xff\n"},
		{"every column", everything, r, "CreateTime:1729850400123\tPartition:3\tOffset:42\tEpoch:7\ta:1,b:null\tk\tv\xff\n"},
		{"nothing there", everything, empty, "NO_TIMESTAMP\tPartition:0\tOffset:0\tEpoch:0\tNO_HEADERS\tnull\tnull\n"},
		{"log append time", on("timestamp"), appended, "LogAppendTime:5\t\n"},
		{"no value", config.Properties{"print.value": "false", "print.offset": "true"}, r, "Offset:42\n"},
		{"no columns", config.Properties{"print.value": "false"}, r, ""},
		{"separators", config.Properties{"print.key": "true", "print.headers": "true", "key.separator": " = ", "line.separator": ";", "headers.separator": "|", "null.literal": "-"}, r, "a:1|b:- = k = v\xff;"},
		{"numbers", config.Properties{"print.key": "true", "key.deserializer": "org.apache.kafka.common.serialization.IntegerDeserializer",
			"value.deserializer": "org.apache.kafka.common.serialization.LongDeserializer"}, number, "5\t-2\n"},
	} {
		f, err := newFormatter(c.p)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		if err := f.write(w, &c.r); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%s\n got %q\nwant %q", c.name, b.String(), c.want)
		}
	}
}

func TestFormatterRefuses(t *testing.T) {
	if _, err := newFormatter(config.Properties{"value.deserializer": "com.example.AvroDeserializer"}); err == nil {
		t.Error("a Java class was accepted")
	}
	f, err := newFormatter(config.Properties{"value.deserializer": "LongDeserializer"})
	if err != nil {
		t.Fatal(err)
	}
	err = f.write(bufio.NewWriter(&bytes.Buffer{}), &consumer.Record{Value: []byte("short")})
	if err == nil || err.Error() != "Size of data received by LongDeserializer is not 8" {
		t.Errorf("got %v", err)
	}
}

func TestFormatterDoesNotAllocate(t *testing.T) {
	f, err := newFormatter(config.Properties{"print.key": "true", "print.offset": "true", "print.timestamp": "true"})
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(&discard{}, 4096)
	r := consumer.Record{Key: []byte("key"), Value: []byte("value"), Timestamp: time.UnixMilli(1)}
	if n := testing.AllocsPerRun(1000, func() {
		if err := f.write(w, &r); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

// discard forgets what is written.
type discard struct{}

// Write implements io.Writer.
func (*discard) Write(p []byte) (int, error) { return len(p), nil }
