package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
)

// consumerPerfFlags are the options of kafka-consumer-perf-test (F§7.12).
type consumerPerfFlags struct {
	set *flags.Set

	bootstrap, brokerList, topic, messages, group *flags.Option
	fetchSize, fromLatest, consumerConfig         *flags.Option
	printMetrics, detailed, interval, timeout     *flags.Option
	hideHeader, dateFormat                        *flags.Option
}

// newConsumerPerfFlags declares the options.
func newConsumerPerfFlags() *consumerPerfFlags {
	s := flags.New("This tool is used to verify the consumer performance.")
	f := &consumerPerfFlags{
		set:            s,
		bootstrap:      s.Value("bootstrap-server", flags.String, "server to connect to", "REQUIRED unless --broker-list is given: the brokers to ask first, as host1:port1,host2:port2."),
		brokerList:     s.Value("broker-list", flags.String, "broker-list", "DEPRECATED, use --bootstrap-server."),
		topic:          s.Value("topic", flags.String, "topic", "REQUIRED: the topic to read.").Required(),
		messages:       s.Value("messages", flags.Long, "count", "REQUIRED: how many records to read.").Required(),
		group:          s.Value("group", flags.String, "gid", "The consumer group."),
		fetchSize:      s.Value("fetch-size", flags.Integer, "size", "How many bytes of one partition an answer holds.").Default("1048576"),
		fromLatest:     s.Flag("from-latest", "Start with the latest record instead of the earliest."),
		consumerConfig: s.Value("consumer.config", flags.String, "config file", "A file with settings of the consumer."),
		printMetrics:   s.Flag("print-metrics", "Print the client's counters at the end."),
		detailed:       s.Flag("show-detailed-stats", "Print a line for each interval instead of one for all."),
		interval:       s.Value("reporting-interval", flags.Integer, "interval_ms", "How long an interval is, in milliseconds.").Default("5000"),
		timeout:        s.Value("timeout", flags.Long, "milliseconds", "How long to wait for more records.").Default("10000"),
		hideHeader:     s.Flag("hide-header", "Leave the line with the names of the columns out."),
		dateFormat:     s.Value("date-format", flags.String, "date format", "The format of times, as java.text.SimpleDateFormat takes it.").Default("yyyy-MM-dd HH:mm:ss:SSS"),
	}
	s.Value("socket-buffer-size", flags.Integer, "size", "Socket receive buffer, without effect.").Default("2097152")
	s.Value("threads", flags.Integer, "count", "DEPRECATED, without effect.")
	s.Value("num-fetch-threads", flags.Integer, "count", "DEPRECATED, without effect.")
	return f
}

// consumerPerf is a measurement.
type consumerPerf struct {
	std                streams
	date               string // pattern of times
	detailed           bool
	interval, timeout  time.Duration
	wanted             int64
	start, end, joined time.Time
	count, bytes       int64
	lastReport         time.Time
	lastCount          int64
	lastBytes          int64
}

// runConsumerPerf is kafka-consumer-perf-test.
func runConsumerPerf(ctx context.Context, args []string, std streams) int {
	f := newConsumerPerfFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	err := f.set.CheckRequired(f.topic, f.messages)
	if err == nil && !f.bootstrap.Given() && !f.brokerList.Given() {
		err = kafkaError(`Missing required argument "[bootstrap-server]"`)
	}
	if err != nil {
		return usageError(f.set, err, std)
	}
	p := &consumerPerf{
		std: std, date: f.dateFormat.Text(), detailed: f.detailed.Given(), wanted: f.messages.Int(),
		interval: time.Duration(max(1, f.interval.Int())) * time.Millisecond, timeout: time.Duration(f.timeout.Int()) * time.Millisecond,
	}
	if err := p.run(ctx, f); err != nil {
		if ctx.Err() != nil {
			return interrupted(ctx)
		}
		fmt.Fprintln(std.err, text(err))
		return 1
	}
	return 0
}

// run reads and prints how it went.
func (p *consumerPerf) run(ctx context.Context, f *consumerPerfFlags) error {
	log := toolLogger(p.std.err, "org.apache.kafka.tools.ConsumerPerformance")
	properties, err := fileProperties(f.consumerConfig)
	if err != nil {
		return err
	}
	bootstrap := f.bootstrap.Text()
	if !f.bootstrap.Given() {
		bootstrap = f.brokerList.Text()
	}
	properties["bootstrap.servers"] = bootstrap
	merge(properties, "max.partition.fetch.bytes", f.fetchSize)
	properties["auto.offset.reset"] = "earliest"
	if f.fromLatest.Given() {
		properties["auto.offset.reset"] = "latest"
	}
	properties["check.crcs"] = "false"
	if properties["client.id"] == "" {
		properties["client.id"] = "perf-consumer-client"
	}
	settings, warnings, err := config.LoadConsumer(properties)
	if err != nil {
		return err
	}
	warnAll(log, warnings)
	cl, err := client.Dial(ctx, bootstrap, connectionOptions(settings.Connection, settings.APITimeout, log)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	c, err := consumer.New(cl, consumerOptions(settings, log)...)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if !f.hideHeader.Given() {
		p.printHeader()
	}
	p.start = time.Now()
	p.lastReport = p.start
	if err := c.AssignTopics(ctx, strings.Split(f.topic.Text(), ",")...); err != nil {
		return err
	}
	p.joined = time.Now()
	if err := p.read(ctx, c); err != nil {
		return err
	}
	p.end = time.Now()
	if p.count < p.wanted {
		fmt.Fprintf(p.std.out, "WARNING: Exiting before consuming the expected number of messages: timeout (%d ms) exceeded. You can use the --timeout option to increase the timeout.\n", p.timeout.Milliseconds())
	}
	if !p.detailed {
		p.printTotal()
	}
	if f.printMetrics.Given() {
		fmt.Fprintf(p.std.out, "\nMetric Name                                            Value\nconsumer-fetch-manager-metrics:records-consumed-total : %d\nconsumer-fetch-manager-metrics:bytes-consumed-total   : %d\n", p.count, p.bytes)
	}
	return nil
}

// read counts records until there are enough, or nothing comes for the timeout.
func (p *consumerPerf) read(ctx context.Context, c *consumer.Consumer) error {
	for p.count < p.wanted {
		wait, cancel := context.WithTimeout(ctx, p.timeout)
		batches, err := c.Poll(wait)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range batches {
			for r, err := range batches[i].All() {
				if err != nil {
					return err
				}
				p.count++
				p.bytes += int64(len(r.Key) + len(r.Value))
			}
		}
		if now := time.Now(); p.detailed && now.Sub(p.lastReport) >= p.interval {
			p.printInterval(now)
		}
	}
	return nil
}

// printHeader prints the names of the columns.
func (p *consumerPerf) printHeader() {
	if p.detailed {
		fmt.Fprintln(p.std.out, "time, threadId, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec")
		return
	}
	fmt.Fprintln(p.std.out, "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec")
}

// mib is the unit of megabytes.
const mib = 1 << 20

// printTotal prints the line about the whole run.
func (p *consumerPerf) printTotal() {
	seconds, mb := p.end.Sub(p.start).Seconds(), float64(p.bytes)/mib
	rebalance := p.joined.Sub(p.start)
	fetching := max(p.end.Sub(p.joined), time.Millisecond)
	fmt.Fprintf(p.std.out, "%s, %s, %.4f, %.4f, %d, %.4f, %d, %d, %.4f, %.4f\n", javaDate(p.date, p.start), javaDate(p.date, p.end),
		mb, mb/seconds, p.count, float64(p.count)/seconds, rebalance.Milliseconds(), fetching.Milliseconds(), mb/fetching.Seconds(), float64(p.count)/fetching.Seconds())
}

// printInterval prints the line about an interval.
func (p *consumerPerf) printInterval(now time.Time) {
	seconds := now.Sub(p.lastReport).Seconds()
	mb, records := float64(p.bytes-p.lastBytes)/mib, float64(p.count-p.lastCount)
	fmt.Fprintf(p.std.out, "%s, %d, %.4f, %.4f, %d, %.4f, %d, %d, %.4f, %.4f\n", javaDate(p.date, now), 0, float64(p.bytes)/mib, mb/seconds, p.count, records/seconds,
		0, now.Sub(p.lastReport).Milliseconds(), mb/seconds, records/seconds)
	p.lastReport, p.lastCount, p.lastBytes = now, p.count, p.bytes
}

// javaDate formats a time by a pattern of java.text.SimpleDateFormat, as far as numbers go.
func javaDate(pattern string, t time.Time) string {
	layout := strings.NewReplacer("yyyy", "2006", "MM", "01", "dd", "02", "HH", "15", "mm", "04", "ss", "05")
	parts := strings.Split(pattern, "SSS")
	for i, part := range parts {
		parts[i] = t.Format(layout.Replace(part))
	}
	return strings.Join(parts, fmt.Sprintf("%03d", t.Nanosecond()/int(time.Millisecond)))
}
