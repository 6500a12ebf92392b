package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/proto/cluster"
)

// getOffsetsFlags are the options of kafka-get-offsets (F§7.9).
type getOffsetsFlags struct {
	set *flags.Set

	bootstrap, brokerList, topic, partitions, topicPartitions *flags.Option
	time, commandConfig, excludeInternal                      *flags.Option
}

// newGetOffsetsFlags declares the options.
func newGetOffsetsFlags() *getOffsetsFlags {
	s := flags.New("An interactive shell for getting topic-partition offsets.")
	f := &getOffsetsFlags{
		set:             s,
		bootstrap:       s.Value("bootstrap-server", flags.String, "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED: the brokers to ask first."),
		brokerList:      s.Value("broker-list", flags.String, "HOST1:PORT1,...,HOST3:PORT3", "DEPRECATED, use --bootstrap-server."),
		topic:           s.Value("topic", flags.String, "topic", "A regular expression for the topics; all topics when not given. Not with --topic-partitions."),
		partitions:      s.Value("partitions", flags.String, "partition ids", "The partitions, separated by commas; all when not given. Not with --topic-partitions."),
		topicPartitions: s.Value("topic-partitions", flags.String, "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3", "Topics with partitions, separated by commas: a regular expression, then optionally a colon and a number or a range whose upper end is not included."),
		time:            s.Value("time", flags.String, "<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered", "The offset of which moment: the first record at or after a time in milliseconds, or one of these words.").Default("latest"),
		commandConfig:   s.Value("command-config", flags.String, "command config property file", "A properties file with settings for the admin client."),
		excludeInternal: s.Flag("exclude-internal-topics", "Leave internal topics out."),
	}
	s.Value("offsets", flags.Integer, "count", "DEPRECATED, without effect.")
	s.Value("max-wait-ms", flags.Integer, "ms", "DEPRECATED, without effect.")
	return f
}

// runGetOffsets is kafka-get-offsets.
func runGetOffsets(ctx context.Context, args []string, std streams) int {
	f := newGetOffsetsFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	var wrong error
	switch {
	case !f.bootstrap.Given() && !f.brokerList.Given():
		wrong = kafkaError(`Missing required argument "[bootstrap-server]"`)
	case f.topicPartitions.Given() && (f.topic.Given() || f.partitions.Given()):
		wrong = errors.New("--topic-partitions cannot be used with --topic or --partitions")
	}
	if wrong != nil {
		return usageError(f.set, wrong, std)
	}
	lines, err := f.offsets(ctx, toolLogger(std.err, "org.apache.kafka.tools.GetOffsetShell"), std)
	if err != nil && ctx.Err() != nil {
		return interrupted(ctx)
	}
	if err != nil {
		fmt.Fprintf(std.err, "Error occurred: %s\n", text(err))
		return 1
	}
	fmt.Fprint(std.out, lines)
	return 0
}

// offsets asks for the offsets and returns the lines to print.
func (f *getOffsetsFlags) offsets(ctx context.Context, log hclog.Logger, std streams) (string, error) {
	at, err := parseTime(f.time.Text())
	if err != nil {
		return "", err
	}
	match, err := f.filter()
	if err != nil {
		return "", err
	}
	bootstrap := f.bootstrap.Text()
	if !f.bootstrap.Given() {
		bootstrap = f.brokerList.Text()
	}
	cl, _, err := dialAdmin(ctx, bootstrap, f.commandConfig, "GetOffsetShell", log)
	if err != nil {
		return "", err
	}
	defer cl.Close()
	topics, err := admin.New(cl).ListTopics(ctx)
	if err != nil {
		return "", err
	}
	wanted := map[cluster.TopicPartition]int64{}
	for _, t := range topics {
		if f.excludeInternal.Given() && cluster.IsInternalTopic(t.Name) {
			continue
		}
		for _, p := range t.Partitions {
			if match(t.Name, p.Index) {
				wanted[cluster.TopicPartition{Topic: t.Name, Partition: p.Index}] = at
			}
		}
	}
	if len(wanted) == 0 {
		return "", kafkaError("Could not match any topic-partitions with the specified filters")
	}
	if at == latestTiered {
		return "", nil // partitions without such an offset are skipped
	}
	found, err := cl.ListOffsets(ctx, client.ReadUncommitted, wanted)
	if err != nil {
		return "", err
	}
	tps := make([]cluster.TopicPartition, 0, len(found))
	for tp := range found {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, func(a, b cluster.TopicPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	var b strings.Builder
	for _, tp := range tps {
		switch r := found[tp]; {
		case r.Err != nil:
			fmt.Fprintf(std.err, "Skip getting offsets for topic-partition %s due to error: %s\n", tp, text(r.Err))
		case r.Offset != cluster.UnknownOffset:
			fmt.Fprintf(&b, "%s:%d:%d\n", tp.Topic, tp.Partition, r.Offset)
		}
	}
	return b.String(), nil
}

// latestTiered is --time latest-tiered: the end of what is in tiered storage, which a broker without such storage does not know.
const latestTiered = -5

// parseTime reads --time.
func parseTime(text string) (int64, error) {
	switch text {
	case "latest":
		return client.Latest, nil
	case "earliest":
		return client.Earliest, nil
	case "max-timestamp":
		return client.MaxTimestamp, nil
	case "earliest-local":
		return client.EarliestLocal, nil
	case "latest-tiered":
		return latestTiered, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, kafkaError("Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered, or a specified long format timestamp", text)
	}
	return n, nil
}

// filter returns which partitions are wanted.
func (f *getOffsetsFlags) filter() (func(topic string, partition int32) bool, error) {
	if f.topicPartitions.Given() {
		return partitionFilters(f.topicPartitions.Text())
	}
	topic := func(string) bool { return true }
	if f.topic.Given() {
		var err error
		if topic, err = includeList(f.topic.Text()); err != nil {
			return nil, err
		}
	}
	numbers, err := parsePartitions(f.partitions.Text())
	if err != nil {
		return nil, err
	}
	return func(t string, p int32) bool {
		return topic(t) && (len(numbers) == 0 || slices.Contains(numbers, p))
	}, nil
}

// parsePartitions reads numbers separated by commas.
func parsePartitions(text string) ([]int32, error) {
	var list []int32
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		n, err := strconv.ParseInt(item, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("--partitions expects a comma separated list of numeric partition ids, but received: %s", text)
		}
		list = append(list, int32(n))
	}
	return list, nil
}

// topicPartition is the form of one item of --topic-partitions: a topic's expression, a partition or a range.
var topicPartition = regexp.MustCompile(`^([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?$`)

// partitionFilters reads --topic-partitions (PartitionFilter and TopicPartitionFilter, KIP-635).
func partitionFilters(text string) (func(topic string, partition int32) bool, error) {
	type filter struct {
		topic    func(string) bool
		from, to int64
	}
	var filters []filter
	for item := range strings.SplitSeq(text, ",") {
		m := topicPartition.FindStringSubmatch(item)
		if m == nil {
			return nil, kafkaError("Invalid rule specification: %s", item)
		}
		one := filter{func(string) bool { return true }, 0, math.MaxInt64}
		if m[1] != "" {
			var err error
			if one.topic, err = includeList(m[1]); err != nil {
				return nil, err
			}
		}
		bound := func(text string, fallback int64) int64 {
			if n, err := strconv.ParseInt(text, 10, 32); err == nil {
				return n
			}
			return fallback
		}
		if m[2] != "" {
			one.from = bound(m[2], 0)
			one.to = one.from + 1
		} else {
			one.from, one.to = bound(m[3], 0), bound(m[4], math.MaxInt64)
		}
		filters = append(filters, one)
	}
	return func(topic string, partition int32) bool {
		return slices.ContainsFunc(filters, func(f filter) bool {
			return f.topic(topic) && int64(partition) >= f.from && int64(partition) < f.to
		})
	}, nil
}
