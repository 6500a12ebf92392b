package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/term"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/kerr"
)

// consoleProducerFlags are the options of kafka-console-producer (F§7.2).
type consoleProducerFlags struct {
	set *flags.Set

	bootstrap, brokerList, topic, sync, codec *flags.Option
	properties, readerConfig, lineReader      *flags.Option
	producerProperties, producerConfig        *flags.Option
	linger                                    *flags.Option
	merged                                    []mergedOption
}

// mergedOption is an option that stands for a setting of the producer.
type mergedOption struct {
	key    string
	option *flags.Option
}

// newConsoleProducerFlags declares the options.
func newConsoleProducerFlags() *consoleProducerFlags {
	s := flags.New("This tool helps to read data from standard input and publish it to Kafka.")
	s.Value("socket-buffer-size", flags.Integer, "size", "Socket send buffer, without effect.").Default("102400")
	linger := s.Value("timeout", flags.Long, "timeout_ms", "How long a line may wait for more lines.").Default("1000")
	return &consoleProducerFlags{
		set:                s,
		bootstrap:          s.Value("bootstrap-server", flags.String, "server to connect to", "REQUIRED unless --broker-list is given: the brokers to ask first, as host1:port1,host2:port2."),
		brokerList:         s.Value("broker-list", flags.String, "broker-list", "DEPRECATED, use --bootstrap-server."),
		topic:              s.Value("topic", flags.String, "topic", "REQUIRED: the topic to write to.").Required(),
		sync:               s.Flag("sync", "Wait for the answer to each line before the next is sent."),
		codec:              s.Value("compression-codec", flags.String, "compression-codec", "How to compress: none, gzip, snappy, lz4 or zstd; gzip when no value is given.").Optional(),
		lineReader:         s.Value("line-reader", flags.String, "reader_class", "The class that reads lines.").Default("org.apache.kafka.tools.LineMessageReader"),
		properties:         s.Value("property", flags.String, "prop", "A property of the line reader: parse.key, key.separator, ignore.error, parse.headers, headers.delimiter, headers.separator, headers.key.separator or null.marker, as name=value.").Many(),
		readerConfig:       s.Value("reader-config", flags.String, "config file", "A file with properties of the line reader. --property wins."),
		producerProperties: s.Value("producer-property", flags.String, "producer_prop", "A setting of the producer as name=value.").Many(),
		producerConfig:     s.Value("producer.config", flags.String, "config file", "A file with settings of the producer. --producer-property wins."),
		linger:             linger,
		merged: []mergedOption{
			{"linger.ms", linger},
			{"acks", s.Value("request-required-acks", flags.String, "request required acks", "What a write has to wait for: 0, 1 or all.").Default("-1")},
			{"request.timeout.ms", s.Value("request-timeout-ms", flags.Integer, "request timeout ms", "How long to wait for an answer.").Default("1500")},
			{"retries", s.Value("message-send-max-retries", flags.Integer, "", "How often to repeat what failed.").Default("3")},
			{"retry.backoff.ms", s.Value("retry-backoff-ms", flags.Long, "", "How long to wait before repeating.").Default("100")},
			{"buffer.memory", s.Value("max-memory-bytes", flags.Long, "total memory in bytes", "How many bytes may wait to be sent.").Default("33554432")},
			{"batch.size", s.Value("batch-size", flags.Integer, "size", "The size of a batch in bytes.").Default("16384")},
			{"batch.size", s.Value("max-partition-memory-bytes", flags.Integer, "memory in bytes per partition", "The size of a batch in bytes.").Default("16384")},
			{"metadata.max.age.ms", s.Value("metadata-expiry-ms", flags.Long, "metadata expiration interval", "When to ask for metadata again although nothing failed.").Default("300000")},
			{"max.block.ms", s.Value("max-block-ms", flags.Long, "max block on send", "How long sending may block.").Default("60000")},
		},
	}
}

// bootstrapServers returns the brokers to ask first.
func (f *consoleProducerFlags) bootstrapServers() string {
	if f.bootstrap.Given() {
		return f.bootstrap.Text()
	}
	return f.brokerList.Text()
}

// check judges the options together.
func (f *consoleProducerFlags) check() error {
	if err := f.set.CheckRequired(f.topic); err != nil {
		return err
	}
	if !f.bootstrap.Given() && !f.brokerList.Given() {
		return kafkaError(`Missing required argument "[bootstrap-server]"`)
	}
	switch class := f.lineReader.Text(); class {
	case "org.apache.kafka.tools.LineMessageReader", "kafka.tools.ConsoleProducer$LineMessageReader", "kafka.tools.LineMessageReader":
		return nil
	default:
		return fmt.Errorf("the line reader %s is a Java class, which cannot be loaded; leave --line-reader out", class)
	}
}

// settings puts the settings of the producer together: options over properties over the file over the options' defaults. When lines come alone, with
// --sync or from a keyboard, none is kept back for the next one unless linger.ms or --timeout asks for it.
func (f *consoleProducerFlags) settings(alone bool) (*config.Producer, []config.Warning, error) {
	p, err := fileProperties(f.producerConfig)
	if err != nil {
		return nil, nil, err
	}
	given, err := pairsOrError(f.producerProperties.Texts())
	if err != nil {
		return nil, nil, err
	}
	for k, v := range given {
		p[k] = v
	}
	linger := p["linger.ms"]
	p["bootstrap.servers"] = f.bootstrapServers()
	if p["client.id"] == "" {
		p["client.id"] = "console-producer"
	}
	if f.codec.Given() {
		if p["compression.type"] = f.codec.Text(); f.codec.Text() == "" {
			p["compression.type"] = "gzip"
		}
	}
	for _, m := range f.merged {
		merge(p, m.key, m.option)
	}
	if alone && !f.linger.Given() && linger == "" {
		p["linger.ms"] = "0"
	}
	return config.LoadProducer(p)
}

// runConsoleProducer is kafka-console-producer.
func runConsoleProducer(ctx context.Context, args []string, std streams) int {
	f := newConsoleProducerFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	if err := f.check(); err != nil {
		return usageError(f.set, err, std)
	}
	log := toolLogger(std.err, "kafka.tools.ConsoleProducer")
	fail := func(err error) int {
		fmt.Fprintln(std.err, err)
		return 1
	}
	terminal := isTerminal(std.in) && isTerminal(std.out)
	settings, warnings, err := f.settings(f.sync.Given() || terminal)
	if err != nil {
		return fail(err)
	}
	warnAll(log, warnings)
	properties, err := fileProperties(f.readerConfig)
	if err != nil {
		return fail(err)
	}
	given, err := pairsOrError(f.properties.Texts())
	if err != nil {
		return fail(err)
	}
	for k, v := range given {
		properties[k] = v
	}
	reader, err := newLineReader(std.in, properties)
	if err != nil {
		return fail(err)
	}
	options, err := producerOptions(settings, log)
	if err != nil {
		return fail(err)
	}
	cl, err := client.Dial(ctx, f.bootstrapServers(), connectionOptions(settings.Connection, settings.MaxBlock, log)...)
	if err != nil {
		return fail(err)
	}
	defer cl.Close()
	p, err := producer.New(cl, options...)
	if err != nil {
		return fail(err)
	}
	s := &lineSender{producer: p, topic: f.topic.Text(), reader: reader, sync: f.sync.Given(), log: log}
	if terminal {
		s.prompt = std.out
	}
	return s.run(ctx, std)
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// lineSender sends lines to a topic.
type lineSender struct {
	producer *producer.Producer
	topic    string
	reader   *lineReader
	sync     bool
	prompt   io.Writer // nil for none
	log      hclog.Logger
	pending  sync.Pool // of *pendingLine
}

// pendingLine waits for the answer to one line. It is used again after the answer, so that sending does not allocate.
type pendingLine struct {
	sender     *lineSender
	key, value int // lengths, -1 for null
	done       func(producer.Result, error)
}

// run sends until the end of the input or of ctx, and then waits for the answers. The result is the exit code.
func (s *lineSender) run(ctx context.Context, std streams) int {
	read := make(chan error, 1)
	go func() { read <- s.sendAll(ctx) }()
	code := 0
	select {
	case err := <-read:
		if err != nil {
			fmt.Fprintf(std.err, "org.apache.kafka.common.KafkaException: %v\n", err)
			code = 1
		}
	case <-ctx.Done():
		code = interrupted(ctx) // the goroutine is left in its read
	}
	// The producer's own delivery timeout bounds this.
	if err := s.producer.Close(context.WithoutCancel(ctx)); err != nil && code == 0 {
		s.log.Error("closing the producer failed", "error", err)
	}
	return code
}

// sendAll sends line after line. The error is about a line that cannot be read.
func (s *lineSender) sendAll(ctx context.Context) error {
	for {
		if s.prompt != nil {
			fmt.Fprint(s.prompt, ">")
		}
		in, err := s.reader.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		s.send(ctx, in)
	}
}

// send sends one line. Failures are logged and do not stop the tool.
func (s *lineSender) send(ctx context.Context, in input) {
	r := producer.Record{Topic: s.topic, Key: in.key, Value: in.value, Headers: in.headers}
	if s.sync {
		if _, err := s.producer.Send(ctx, r); err != nil {
			s.failed(length(in.key), length(in.value), err)
		}
		return
	}
	line, _ := s.pending.Get().(*pendingLine)
	if line == nil {
		line = &pendingLine{sender: s}
		line.done = line.answered
	}
	line.key, line.value = length(in.key), length(in.value)
	if err := s.producer.SendAsync(ctx, r, line.done); err != nil {
		line.answered(producer.Result{}, err)
	}
}

// answered takes the answer to a line.
func (l *pendingLine) answered(_ producer.Result, err error) {
	if err != nil {
		l.sender.failed(l.key, l.value, err)
	}
	l.sender.pending.Put(l)
}

// length is the length of a key or value, -1 for null.
func length(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// failed logs a failure as ErrorLoggingCallback does.
func (s *lineSender) failed(key, value int, err error) {
	size := func(n int) string {
		if n < 0 {
			return "null"
		}
		return fmt.Sprintf("%d bytes", n)
	}
	s.log.ResetNamed("org.apache.kafka.clients.producer.internals.ErrorLoggingCallback").Error(fmt.Sprintf(
		"Error when sending message to topic %s with key: %s, value: %s with error:", s.topic, size(key), size(value)), "error", kerr.CodeOf(err).Name(), "message", err)
}
