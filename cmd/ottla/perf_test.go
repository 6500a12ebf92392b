package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/config"
)

// parsePerf reads the command line of producer-perf-test.
func parsePerf(line string) (*producerPerf, error) {
	given, err := perfArguments.parse(strings.Fields(line))
	if err != nil {
		return nil, err
	}
	return newProducerPerf(given)
}

func TestParseProducerPerf(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"--num-records 1 --throughput -1 --record-size 1 --producer-props bootstrap.servers=b:1", "argument --topic is required"},
		{"--topic t --throughput -1 --record-size 1 --producer-props bootstrap.servers=b:1", "argument --num-records is required"},
		{"--topic t --num-records 1 --record-size 1 --producer-props bootstrap.servers=b:1", "argument --throughput is required"},
		{"--topic t --num-records 1 --throughput -1 --producer-props a=b", "one of the arguments --record-size --payload-file --payload-monotonic is required"},
		{"--topic t --num-records 1 --throughput -1 --record-size 1 --payload-file f --producer-props a=b", "argument --payload-file: not allowed with argument --record-size"},
		{"--topic t --num-records 1 --throughput -1 --record-size 1 --payload-monotonic --producer-props a=b", "argument --payload-monotonic: not allowed with argument --record-size"},
		{"--topic t --num-records 1 --throughput -1 --record-size 1", "Either --producer-props or --producer.config must be specified."},
		{"--topic t --num-records x --throughput -1 --record-size 1 --producer-props a=b", "argument --num-records: could not convert 'x' to Long"},
		{"--topic t --num-records 1 --throughput -1 --record-size 0 --producer-props a=b", "argument --record-size: '0' should be greater than zero"},
		{"--topic t --num-records 1 --throughput -1 --record-size 1 --producer-props a", "Invalid property: a"},
		{"--topic", "argument --topic: expected one argument"},
		{"--bogus", "unrecognized arguments: '--bogus'"},
	} {
		if _, err := parsePerf(c.line); err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.line, err, c.want)
		}
	}
	p, err := parsePerf("--topic t --num-records 10 --producer-props bootstrap.servers=b:1 acks=1 --throughput=2.5 --payload-monotonic --print-metrics")
	if err != nil || p.properties["acks"] != "1" || p.properties["bootstrap.servers"] != "b:1" || p.throughput != 2.5 || !p.monotonic || !p.metrics {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPayloads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := (&producerPerf{payloadFile: file, delimiter: `\n`, properties: config.Properties{}}).payloads()
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(20) {
		if got := string(lines(i)); got != "one" && got != "two" {
			t.Fatalf("payload %q", got)
		}
	}
	random, err := (&producerPerf{size: 100}).payloads()
	if err != nil {
		t.Fatal(err)
	}
	first := string(random(0))
	if len(first) != 100 || strings.Trim(first, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || first == string(random(1)) {
		t.Errorf("payload %q", first)
	}
	again, err := (&producerPerf{size: 100}).payloads()
	if err != nil || string(again(0)) != first {
		t.Error("another run has other payloads")
	}
	numbers, err := (&producerPerf{monotonic: true}).payloads()
	if err != nil || string(numbers(41)) != "41" {
		t.Error("the payloads are not the numbers")
	}
}

func TestPerfStatsLines(t *testing.T) {
	var out bytes.Buffer
	start := time.Date(2024, 10, 25, 10, 0, 0, 0, time.UTC)
	s := newPerfStats(4, &out, start)
	for i, ms := range []int64{1, 2, 30, 4} {
		at := start.Add(time.Duration(i+1) * 1250 * time.Millisecond)
		s.add(at, at.Add(-time.Duration(ms)*time.Millisecond), 1<<20, nil)
	}
	s.add(start, start, 1, errors.New("no luck"))
	s.printTotal(start.Add(8 * time.Second))
	want := "4 records sent, 0.8 records/sec (0.80 MB/sec), 9.2 ms avg latency, 30.0 ms max latency.\n" +
		"no luck\n" +
		"4 records sent, 0.500000 records/sec (0.50 MB/sec), 9.25 ms avg latency, 30.00 ms max latency, 4 ms 50th, 30 ms 95th, 30 ms 99th, 30 ms 99.9th.\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestConsumerPerfLines(t *testing.T) {
	var out bytes.Buffer
	start := time.Date(2024, 10, 25, 10, 0, 0, 0, time.UTC)
	p := &consumerPerf{std: streams{out: &out}, date: "yyyy-MM-dd HH:mm:ss:SSS", start: start, joined: start.Add(350 * time.Millisecond),
		end: start.Add(2500 * time.Millisecond), count: 50000, bytes: 5_000_000}
	p.printHeader()
	p.printTotal()
	want := "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n" +
		"2024-10-25 10:00:00:000, 2024-10-25 10:00:02:500, 4.7684, 1.9073, 50000, 20000.0000, 350, 2150, 2.2178, 23255.8140\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
