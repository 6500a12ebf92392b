package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/config"
)

// perfUsage is the line that says how producer-perf-test is called.
const perfUsage = `usage: producer-performance [-h] --topic TOPIC --num-records NUM-RECORDS [--payload-delimiter PAYLOAD-DELIMITER]
                            --throughput THROUGHPUT [--producer-props PROP-NAME=PROP-VALUE [PROP-NAME=PROP-VALUE ...]]
                            [--producer.config CONFIG-FILE] [--print-metrics] [--transactional-id TRANSACTIONAL-ID]
                            [--transaction-duration-ms TRANSACTION-DURATION] (--record-size RECORD-SIZE |
                            --payload-file PAYLOAD-FILE | --payload-monotonic)
`

// perfHelp is the explanation below it.
const perfHelp = `
This tool is used to verify the producer performance.

  --topic TOPIC          write the records to this topic
  --num-records N        how many records to write
  --record-size N        the size of a record in bytes
  --payload-file FILE    take records from this file, one per line, at random
  --payload-delimiter D  what ends a record in the file (default: \n)
  --payload-monotonic    the records are the numbers from 0
  --throughput N         records a second at most; -1 for no limit
  --producer-props K=V   settings of the producer, in front of those of the file
  --producer.config FILE a file with settings of the producer
  --print-metrics        print the client's counters at the end
`

// producerPerf is what producer-perf-test was asked to do (F§7.11).
type producerPerf struct {
	topic       string
	records     int64
	size        int
	payloadFile string
	delimiter   string
	monotonic   bool
	throughput  float64
	properties  config.Properties
	metrics     bool
}

// perfArguments is the command line of producer-perf-test.
var perfArguments = arguments{
	program: "producer-performance", usage: perfUsage, help: perfHelp,
	values: []string{
		"--topic", "--num-records", "--record-size", "--payload-file", "--payload-delimiter", "--throughput", "--producer.config", "--bootstrap-server",
		"--transactional-id", "--transaction-duration-ms",
	},
	lists:    []string{"--producer-props"},
	switches: []string{"--print-metrics", "--payload-monotonic"},
	required: []string{"--topic", "--num-records", "--throughput"},
}

// newProducerPerf makes the tool from its command line.
func newProducerPerf(given givenArguments) (*producerPerf, error) {
	p := &producerPerf{
		topic: given.text("--topic"), payloadFile: given.text("--payload-file"), delimiter: `\n`, size: -1,
		monotonic: given.has("--payload-monotonic"), metrics: given.has("--print-metrics"), properties: config.Properties{},
	}
	if given.has("--transactional-id") || given.has("--transaction-duration-ms") {
		return nil, errors.New("transactions are not available yet")
	}
	source := ""
	for _, name := range []string{"--record-size", "--payload-file", "--payload-monotonic"} {
		switch {
		case given.text(name) == "":
		case source != "":
			return nil, fmt.Errorf("argument %s: not allowed with argument %s", name, source)
		default:
			source = name
		}
	}
	if source == "" {
		return nil, errors.New("one of the arguments --record-size --payload-file --payload-monotonic is required")
	}
	var err error
	if p.records, err = given.long("--num-records", 0); err != nil {
		return nil, err
	}
	if p.throughput, err = strconv.ParseFloat(given.text("--throughput"), 64); err != nil {
		return nil, fmt.Errorf("argument --throughput: could not convert '%s' to Double", given.text("--throughput"))
	}
	if text := given.text("--record-size"); text != "" {
		if p.size, err = strconv.Atoi(text); err != nil || p.size <= 0 {
			return nil, fmt.Errorf("argument --record-size: '%s' should be greater than zero", text)
		}
	}
	if given.has("--payload-delimiter") {
		p.delimiter = given.text("--payload-delimiter")
	}
	props, file, bootstrap := given["--producer-props"], given.text("--producer.config"), given.text("--bootstrap-server")
	if len(props) == 0 && file == "" && bootstrap == "" {
		return nil, kafkaError("Either --producer-props or --producer.config must be specified.")
	}
	if file != "" {
		if p.properties, err = config.ReadProperties(file); err != nil {
			return nil, err
		}
	}
	for _, prop := range props {
		key, value, ok := strings.Cut(prop, "=")
		if !ok {
			return nil, kafkaError("Invalid property: %s", prop)
		}
		p.properties[key] = value
	}
	if bootstrap != "" {
		p.properties["bootstrap.servers"] = bootstrap
	}
	if p.properties["client.id"] == "" {
		p.properties["client.id"] = "perf-producer-client"
	}
	return p, nil
}

// runProducerPerf is kafka-producer-perf-test.
func runProducerPerf(ctx context.Context, args []string, std streams) int {
	return perfArguments.run(ctx, args, std, func(given givenArguments) (func() error, error) {
		p, err := newProducerPerf(given)
		if err != nil {
			return nil, err
		}
		return func() error { return p.run(ctx, std) }, nil
	})
}

// run writes the records and prints how it went.
func (p *producerPerf) run(ctx context.Context, std streams) error {
	log := toolLogger(std.err, "org.apache.kafka.tools.ProducerPerformance")
	settings, warnings, err := config.LoadProducer(p.properties)
	if err != nil {
		return err
	}
	warnAll(log, warnings)
	payload, err := p.payloads()
	if err != nil {
		return err
	}
	options, err := producerOptions(settings, log)
	if err != nil {
		return err
	}
	cl, err := client.Dial(ctx, strings.Join(settings.Bootstrap, ","), connectionOptions(settings.Connection, settings.MaxBlock, log)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	pr, err := producer.New(cl, options...)
	if err != nil {
		return err
	}
	stats := newPerfStats(p.records, std.out, time.Now())
	pace := newPacer(p.throughput, time.Now())
	for i := int64(0); i < p.records && ctx.Err() == nil; i++ {
		value := payload(i)
		probe := stats.probe(len(value))
		if err := pr.SendAsync(ctx, producer.Record{Topic: p.topic, Value: value}, probe.done); err != nil {
			probe.done(producer.Result{}, err)
		}
		if err := pace.wait(ctx, i+1); err != nil {
			break
		}
	}
	if err := pr.Close(ctx); err != nil {
		return err
	}
	stats.printTotal(time.Now())
	if p.metrics {
		fmt.Fprintf(std.out, "\nMetric Name                                            Value\nproducer-metrics:record-send-total                   : %d\nproducer-metrics:record-error-total                  : %d\n", stats.count, stats.failed)
	}
	return ctx.Err()
}

// payloads returns what makes the i-th record's value. The value is valid until the next call.
func (p *producerPerf) payloads() (func(i int64) []byte, error) {
	random := rand.New(rand.NewPCG(0, 0)) // the same every time, so that runs can be compared
	switch {
	case p.monotonic:
		var b []byte
		return func(i int64) []byte { b = strconv.AppendInt(b[:0], i, 10); return b }, nil
	case p.payloadFile != "":
		data, err := os.ReadFile(p.payloadFile)
		if err != nil {
			return nil, fmt.Errorf("read the payload file: %w", err)
		}
		delimiter := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(p.delimiter)
		lines := bytes.Split(bytes.TrimSuffix(data, []byte(delimiter)), []byte(delimiter))
		if len(data) == 0 {
			return nil, kafkaError("File does not exist or empty file provided.")
		}
		return func(int64) []byte { return lines[random.IntN(len(lines))] }, nil
	}
	b := make([]byte, p.size)
	return func(int64) []byte {
		fillLetters(b, random)
		return b
	}, nil
}

// fillLetters fills b with letters from A to Z, a dozen for each random number.
func fillLetters(b []byte, random *rand.Rand) {
	for i := 0; i < len(b); {
		n := random.Uint64()
		for range 12 {
			if i == len(b) {
				return
			}
			b[i] = 'A' + byte(n%26)
			n /= 26
			i++
		}
	}
}

// pacer holds back so that no more than a rate of records is sent.
type pacer struct {
	rate  float64 // records a second, not positive for no limit
	start time.Time
}

// newPacer starts the clock.
func newPacer(rate float64, now time.Time) *pacer { return &pacer{rate, now} }

// wait waits until the record after n others is due.
func (p *pacer) wait(ctx context.Context, n int64) error {
	if p.rate <= 0 {
		return nil
	}
	due := p.start.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	if d := time.Until(due); d > time.Millisecond {
		return client.Sleep(ctx, d)
	}
	return nil
}

// perfReport is how often producer-perf-test says how it goes.
const perfReport = 5 * time.Second

// perfSamples is how many latencies are kept at most; of more, every second, third, … one.
const perfSamples = 500_000

// perfStats counts what was sent and how long it took. It is safe for concurrent use.
type perfStats struct {
	out   io.Writer
	start time.Time
	keep  int64 // every keep-th latency is kept
	pool  sync.Pool

	mu        sync.Mutex // guards all below
	latencies []int32    // milliseconds
	count     int64
	failed    int64
	bytes     int64
	max       int64
	total     int64
	seen      int64
	window    perfWindow
}

// perfWindow is what happened since the last report.
type perfWindow struct {
	start                    time.Time
	count, bytes, max, total int64
}

// newPerfStats starts counting.
func newPerfStats(records int64, out io.Writer, now time.Time) *perfStats {
	s := &perfStats{out: out, start: now, keep: max(1, records/perfSamples), window: perfWindow{start: now}}
	s.latencies = make([]int32, 0, min(records/s.keep+1, perfSamples+1))
	return s
}

// probe measures one record.
type probe struct {
	stats *perfStats
	sent  time.Time
	size  int
	done  func(producer.Result, error)
}

// probe returns a probe for a record that is sent now.
func (s *perfStats) probe(size int) *probe {
	p, _ := s.pool.Get().(*probe)
	if p == nil {
		p = &probe{stats: s}
		p.done = p.answered
	}
	p.sent, p.size = time.Now(), size
	return p
}

// answered counts the record.
func (p *probe) answered(_ producer.Result, err error) {
	p.stats.add(time.Now(), p.sent, int64(p.size), err)
	p.stats.pool.Put(p)
}

// add counts a record, and prints a line when it is time.
func (s *perfStats) add(now, sent time.Time, size int64, err error) {
	ms := now.Sub(sent).Milliseconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.failed++; s.failed <= 10 {
			fmt.Fprintln(s.out, text(err))
		}
		return
	}
	s.count++
	s.bytes += size
	s.total += ms
	s.max = max(s.max, ms)
	if s.seen%s.keep == 0 {
		s.latencies = append(s.latencies, int32(ms))
	}
	s.seen++
	w := &s.window
	w.count++
	w.bytes += size
	w.total += ms
	w.max = max(w.max, ms)
	if now.Sub(w.start) >= perfReport {
		seconds := now.Sub(w.start).Seconds()
		fmt.Fprintf(s.out, "%d records sent, %.1f records/sec (%.2f MB/sec), %.1f ms avg latency, %.1f ms max latency.\n",
			w.count, float64(w.count)/seconds, float64(w.bytes)/seconds/(1<<20), float64(w.total)/float64(w.count), float64(w.max))
		*w = perfWindow{start: now}
	}
}

// printTotal prints the last line.
func (s *perfStats) printTotal(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seconds := now.Sub(s.start).Seconds()
	slices.Sort(s.latencies)
	at := func(q float64) int32 {
		if len(s.latencies) == 0 {
			return 0
		}
		return s.latencies[min(int(q*float64(len(s.latencies))), len(s.latencies)-1)]
	}
	fmt.Fprintf(s.out, "%d records sent, %f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max latency, %d ms 50th, %d ms 95th, %d ms 99th, %d ms 99.9th.\n",
		s.count, float64(s.count)/seconds, float64(s.bytes)/seconds/(1<<20), float64(s.total)/float64(max(1, s.count)), float64(s.max),
		at(0.5), at(0.95), at(0.99), at(0.999))
}
