package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
)

// consoleConsumerFlags are the options of kafka-console-consumer (F§7.3).
type consoleConsumerFlags struct {
	set *flags.Set

	bootstrap, topic, include, whitelist   *flags.Option
	partition, offset, fromBeginning       *flags.Option
	maxMessages, timeout, group            *flags.Option
	formatter, properties, formatterConfig *flags.Option
	keyDeserializer, valueDeserializer     *flags.Option
	consumerProperties, consumerConfig     *flags.Option
	skipOnError, isolation                 *flags.Option
}

// newConsoleConsumerFlags declares the options.
func newConsoleConsumerFlags() *consoleConsumerFlags {
	s := flags.New("This tool helps to read data from Kafka topics and outputs it to standard output.")
	s.Flag("enable-systest-events", "Without effect.")
	return &consoleConsumerFlags{
		set:                s,
		bootstrap:          s.Value("bootstrap-server", flags.String, "server to connect to", "REQUIRED: the brokers to ask first, as host1:port1,host2:port2.").Required(),
		topic:              s.Value("topic", flags.String, "topic", "The topic to read."),
		include:            s.Value("include", flags.String, "Java regex (String)", "A regular expression for the topics to read."),
		whitelist:          s.Value("whitelist", flags.String, "Java regex (String)", "DEPRECATED, use --include."),
		partition:          s.Value("partition", flags.Integer, "partition", "The partition to read; from its end unless --offset or --from-beginning is given."),
		offset:             s.Value("offset", flags.String, "consume offset", "Where to start in the partition: a number that is not negative, earliest or latest.").Default("latest"),
		fromBeginning:      s.Flag("from-beginning", "Start with the earliest record instead of the latest when there is no established offset."),
		maxMessages:        s.Value("max-messages", flags.Integer, "num_messages", "How many records to read; without end when not given."),
		timeout:            s.Value("timeout-ms", flags.Long, "timeout_ms", "Stop when there is nothing to read for this long."),
		group:              s.Value("group", flags.String, "consumer group id", "The consumer group."),
		formatter:          s.Value("formatter", flags.String, "class", "The class that formats records.").Default("org.apache.kafka.tools.consumer.DefaultMessageFormatter"),
		properties:         s.Value("property", flags.String, "prop", "A property of the formatter: print.timestamp, print.key, print.offset, print.epoch, print.partition, print.headers, print.value, key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer or headers.deserializer, as name=value.").Many(),
		formatterConfig:    s.Value("formatter-config", flags.String, "config file", "A file with properties of the formatter. --property wins."),
		keyDeserializer:    s.Value("key-deserializer", flags.String, "deserializer for key", "How to read keys."),
		valueDeserializer:  s.Value("value-deserializer", flags.String, "deserializer for values", "How to read values."),
		consumerProperties: s.Value("consumer-property", flags.String, "consumer_prop", "A setting of the consumer as name=value.").Many(),
		consumerConfig:     s.Value("consumer.config", flags.String, "config file", "A file with settings of the consumer. --consumer-property wins."),
		skipOnError:        s.Flag("skip-message-on-error", "Go on when a record cannot be read, instead of stopping."),
		isolation:          s.Value("isolation-level", flags.String, "", "read_committed leaves out records of transactions that are open or were aborted.").Default("read_uncommitted"),
	}
}

// source is what to read.
type source struct {
	topic     string            // "" when include is set
	include   func(string) bool // nil when topic is set
	partition int32             // -1 for all
	start     int64             // an offset, or client.Earliest or client.Latest
}

// check judges the options together, and works out what to read (ConsoleConsumerOptions).
func (f *consoleConsumerFlags) check() (source, error) {
	src := source{topic: f.topic.Text(), partition: -1, start: client.Latest}
	include := f.include
	if !include.Given() {
		include = f.whitelist
	}
	if f.topic.Given() == include.Given() {
		return src, kafkaError("Exactly one of --include/--topic is required. ")
	}
	if err := f.set.CheckRequired(f.bootstrap); err != nil {
		return src, err
	}
	if include.Given() {
		var err error
		if src.include, err = includeList(include.Text()); err != nil {
			return src, err
		}
	}
	if f.partition.Given() {
		if src.partition = int32(f.partition.Int()); !f.topic.Given() {
			return src, kafkaError("The topic is required when partition is specified.")
		}
		if f.group.Given() {
			return src, kafkaError("Options group and partition cannot be specified together.")
		}
	}
	if f.offset.Given() {
		if !f.partition.Given() {
			return src, kafkaError("The partition is required when offset is specified.")
		}
		if f.fromBeginning.Given() {
			return src, kafkaError("Options from-beginning and offset cannot be specified together.")
		}
		switch text := f.offset.Text(); text {
		case "earliest":
			src.start = client.Earliest
		case "latest":
		default:
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return src, kafkaError("The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.", text)
			}
			src.start = n
		}
	} else if f.fromBeginning.Given() {
		src.start = client.Earliest
	}
	return src, nil
}

// settings puts the settings of the consumer together.
func (f *consoleConsumerFlags) settings(src *source) (*config.Consumer, []config.Warning, error) {
	p, err := fileProperties(f.consumerConfig)
	if err != nil {
		return nil, nil, err
	}
	given, err := pairsOrError(f.consumerProperties.Texts())
	if err != nil {
		return nil, nil, err
	}
	for k, v := range given {
		p[k] = v
	}
	reset := p["auto.offset.reset"]
	if f.fromBeginning.Given() && reset != "" && reset != "earliest" {
		return nil, nil, kafkaError("Can't simultaneously specify --from-beginning and 'auto.offset.reset=%s', please remove one option", reset)
	}
	if f.fromBeginning.Given() { // also where what is to be read next has been deleted, and for partitions that are yet to come
		p["auto.offset.reset"] = "earliest"
	}
	if reset == "earliest" && src.partition < 0 {
		src.start = client.Earliest
	}
	p["bootstrap.servers"] = f.bootstrap.Text()
	if f.isolation.Given() || p["isolation.level"] == "" {
		p["isolation.level"] = f.isolation.Text()
	}
	if f.group.Given() {
		if id := p["group.id"]; id != "" && id != f.group.Text() {
			return nil, nil, kafkaError("The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: '%s', '%s'", f.group.Text(), id)
		}
		p["group.id"] = f.group.Text()
	}
	if p["client.id"] == "" {
		p["client.id"] = "console-consumer"
	}
	return config.LoadConsumer(p)
}

// formatterProperties puts the properties of the formatter together.
func (f *consoleConsumerFlags) formatterProperties() (config.Properties, error) {
	p, err := fileProperties(f.formatterConfig)
	if err != nil {
		return nil, err
	}
	for k, v := range pairs(f.properties.Texts()) {
		p[k] = v
	}
	if f.keyDeserializer.Given() {
		p["key.deserializer"] = f.keyDeserializer.Text()
	}
	if f.valueDeserializer.Given() {
		p["value.deserializer"] = f.valueDeserializer.Text()
	}
	return p, nil
}

// newFormatter makes the formatter; nil prints nothing.
func (f *consoleConsumerFlags) newFormatter() (*formatter, error) {
	switch class := f.formatter.Text(); class {
	case "org.apache.kafka.tools.consumer.DefaultMessageFormatter", "kafka.tools.DefaultMessageFormatter":
		p, err := f.formatterProperties()
		if err != nil {
			return nil, err
		}
		return newFormatter(p)
	case "org.apache.kafka.tools.consumer.NoOpMessageFormatter", "kafka.tools.NoOpMessageFormatter":
		return nil, nil
	default:
		return nil, fmt.Errorf("the formatter %s is a Java class, which cannot be loaded; leave --formatter out", class)
	}
}

// runConsoleConsumer is kafka-console-consumer.
func runConsoleConsumer(ctx context.Context, args []string, std streams) int {
	f := newConsoleConsumerFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	src, err := f.check()
	if err != nil {
		return usageError(f.set, err, std)
	}
	log := toolLogger(std.err, "kafka.tools.ConsoleConsumer$")
	fail := func(err error) int {
		log.Error("Unknown error when running consumer: ", "error", text(err))
		return 1
	}
	settings, warnings, err := f.settings(&src)
	if err != nil {
		fmt.Fprintln(std.err, err)
		return 1
	}
	warnAll(log, warnings)
	format, err := f.newFormatter()
	if err != nil {
		fmt.Fprintln(std.err, err)
		return 1
	}
	if settings.GroupID != "" {
		log.Warn("consumer groups are not available yet: every partition is read, and no offsets are committed", "group", settings.GroupID)
	} else {
		settings.GroupID = fmt.Sprintf("console-consumer-%d", rand.IntN(100000))
	}
	cl, err := client.Dial(ctx, f.bootstrap.Text(), append(connectionOptions(settings.Connection, settings.APITimeout, log), client.APITimeout(settings.APITimeout))...)
	if err != nil {
		return fail(err)
	}
	defer cl.Close()
	c, err := consumer.New(cl, consumerOptions(settings, log)...)
	if err != nil {
		return fail(err)
	}
	p := &printer{
		consumer: c, format: format, skip: f.skipOnError.Given(), left: -1, log: log,
		out: bufio.NewWriterSize(std.out, 256<<10), timeout: time.Duration(f.timeout.Int()) * time.Millisecond,
	}
	if f.maxMessages.Given() {
		p.left = f.maxMessages.Int()
	}
	defer func() {
		fmt.Fprintf(std.err, "Processed a total of %d messages\n", p.count)
	}()
	defer c.Close(context.WithoutCancel(ctx))
	topics, err := assign(ctx, cl, c, &src)
	if err != nil {
		if ctx.Err() != nil {
			return interrupted(ctx)
		}
		return fail(err)
	}
	s := subscription{client: cl, consumer: c, topics: topics, match: src.include}
	defer s.follow(ctx)()
	return p.run(ctx, std.err)
}

// consumerOptions turns settings into the options of a consumer.
func consumerOptions(c *config.Consumer, log hclog.Logger) []consumer.Option {
	isolation := client.ReadUncommitted
	if c.ReadCommitted {
		isolation = client.ReadCommitted
	}
	reset := map[string]consumer.Reset{"latest": consumer.ResetLatest, "earliest": consumer.ResetEarliest, "none": consumer.ResetNone}[c.AutoOffsetReset]
	return []consumer.Option{
		consumer.Isolation(isolation), consumer.OffsetReset(reset), consumer.FetchMinBytes(c.Fetch.MinBytes), consumer.FetchMaxBytes(c.Fetch.MaxBytes),
		consumer.MaxPartitionFetchBytes(c.Fetch.MaxPartitionBytes), consumer.FetchMaxWait(c.Fetch.MaxWait), consumer.CheckCRCs(c.CheckCRCs),
		consumer.Rack(c.ClientRack), consumer.AllowAutoCreateTopics(c.AllowAutoCreateTopics), consumer.Logger(log),
	}
}

// assign tells the consumer what to read and where to start, and returns the topics of which it is to read all partitions.
func assign(ctx context.Context, cl *client.Client, c *consumer.Consumer, src *source) (topics []string, err error) {
	switch {
	case src.partition >= 0:
		err = c.Assign(cluster.TopicPartition{Topic: src.topic, Partition: src.partition})
	case src.include != nil:
		if topics, err = matchingTopics(ctx, cl, src.include); err == nil {
			err = c.AssignTopics(ctx, topics...)
		}
	default:
		topics = []string{src.topic}
		err = c.AssignTopics(ctx, topics...)
	}
	if err != nil {
		return nil, err
	}
	switch src.start {
	case client.Earliest:
		err = c.SeekToBeginning()
	case client.Latest:
		err = c.SeekToEnd()
	default:
		err = c.Seek(cluster.TopicPartition{Topic: src.topic, Partition: src.partition}, cluster.Offset(src.start))
	}
	return topics, err
}

// printer writes records until there are enough of them.
type printer struct {
	consumer *consumer.Consumer
	format   *formatter // nil prints nothing
	skip     bool       // go on after a record that cannot be formatted
	left     int64      // records still to print, negative for no end
	timeout  time.Duration
	out      *bufio.Writer
	log      hclog.Logger
	count    int64
}

// errEnough ends the printing: there were as many records as asked for.
var errEnough = errors.New("enough records")

// errOutput ends the printing: standard output is closed.
var errOutput = errors.New("standard output is closed")

// run prints until the end. The result is the exit code.
func (p *printer) run(ctx context.Context, stderr io.Writer) int {
	if p.left == 0 {
		return 0
	}
	for {
		err := p.step(ctx)
		if flushed := p.out.Flush(); flushed != nil {
			err = errOutput
		}
		switch {
		case err == nil:
		case errors.Is(err, errEnough):
			return 0
		case errors.Is(err, errOutput):
			fmt.Fprintln(stderr, "Unable to write to standard out, closing consumer.")
			return 0
		case ctx.Err() != nil:
			return interrupted(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			p.log.Error("Error processing message, terminating consumer process: ", "error", "org.apache.kafka.common.errors.TimeoutException")
			return 0
		default:
			p.log.Error("Error processing message, terminating consumer process: ", "error", text(err))
			return 1
		}
	}
}

// step prints what one answer of a broker holds.
func (p *printer) step(ctx context.Context) error {
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	batches, err := p.consumer.Poll(ctx)
	if err != nil {
		return err
	}
	for i := range batches {
		for r, err := range batches[i].All() {
			if err != nil {
				return err
			}
			p.count++ // also what is skipped below
			if p.format != nil {
				err = p.format.write(p.out, &r)
			}
			switch {
			case err != nil && !p.skip:
				return err
			case err != nil:
				p.log.Error("Error processing message, skipping this message: ", "error", err)
			}
			if p.left--; p.left == 0 {
				return errEnough
			}
		}
	}
	return nil
}
