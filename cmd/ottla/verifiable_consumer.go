package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
)

// verifiableConsumerArguments is the command line of kafka-verifiable-consumer (F§7.13).
var verifiableConsumerArguments = arguments{
	program: "verifiable-consumer",
	usage: `usage: verifiable-consumer [-h] --topic TOPIC --group-id GROUP_ID [--group-instance-id GROUP_INSTANCE_ID]
                           [--max-messages MAX-MESSAGES] [--session-timeout TIMEOUT_MS] [--verbose] [--enable-autocommit]
                           [--reset-policy RESETPOLICY] [--assignment-strategy ASSIGNMENTSTRATEGY] [--consumer.config CONFIG_FILE]
                           (--bootstrap-server HOST1:PORT1[,HOST2:PORT2[...]] | --broker-list HOST1:PORT1[,HOST2:PORT2[...]])
`,
	help: `
This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received messages, and offsets committed) as
JSON objects to STDOUT.

  --topic TOPIC                read this topic
  --bootstrap-server SERVERS   the brokers to ask first; --broker-list is the old name
  --group-id ID                the consumer group
  --group-instance-id ID       the name of this member of the group
  --max-messages N             how many messages to read; without end if negative (default: -1)
  --session-timeout MS         the member's session timeout (default: 30000)
  --verbose                    print every message
  --enable-autocommit          commit offsets from time to time instead of after each read
  --reset-policy POLICY        where to start without an offset: earliest, latest or none (default: earliest)
  --assignment-strategy CLASS  how a group shares partitions (default: org.apache.kafka.clients.consumer.RangeAssignor)
  --consumer.config FILE       a file with settings of the consumer; the options above win
`,
	values: []string{
		"--topic", "--bootstrap-server", "--broker-list", "--group-id", "--group-instance-id", "--max-messages", "--session-timeout", "--reset-policy",
		"--assignment-strategy", "--consumer.config",
	},
	switches: []string{"--verbose", "--enable-autocommit"},
	required: []string{"--topic", "--group-id"},
}

// verifiableConsumer is kafka-verifiable-consumer at work.
type verifiableConsumer struct {
	topic      string
	most       int64 // without end if negative
	verbose    bool
	properties config.Properties

	log  *eventLog
	read int64
}

// The events of the consumer.
type (
	// partitionRef is a partition in an event.
	partitionRef struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
	}
	// partitionsChanged says which partitions were given or taken away.
	partitionsChanged struct {
		event
		Partitions []partitionRef `json:"partitions"`
	}
	// recordsConsumed says how much was read at once.
	recordsConsumed struct {
		event
		Count      int64           `json:"count"`
		Partitions []recordSummary `json:"partitions"`
	}
	// recordSummary is one partition's share of it.
	recordSummary struct {
		partitionRef
		Count     int64 `json:"count"`
		MinOffset int64 `json:"minOffset"`
		MaxOffset int64 `json:"maxOffset"`
	}
	// recordData is one message.
	recordData struct {
		event
		Key       *string `json:"key"`
		Value     *string `json:"value"`
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Offset    int64   `json:"offset"`
	}
)

// newVerifiableConsumer makes the tool from its command line.
func newVerifiableConsumer(given givenArguments) (*verifiableConsumer, error) {
	v := &verifiableConsumer{topic: given.text("--topic"), verbose: given.has("--verbose"), properties: config.Properties{}}
	bootstrap, err := exclusiveServers(given)
	if err != nil {
		return nil, err
	}
	most, err1 := given.integer("--max-messages", -1)
	_, err2 := given.integer("--session-timeout", 30000)
	if err := firstError(err1, err2); err != nil {
		return nil, err
	}
	v.most = int64(most)
	if given.has("--consumer.config") {
		file, err := config.ReadProperties(given.text("--consumer.config"))
		if err != nil {
			return nil, err
		}
		maps.Copy(v.properties, file)
	}
	v.properties["bootstrap.servers"] = bootstrap
	v.properties["group.id"] = given.text("--group-id")
	v.properties["auto.offset.reset"] = "earliest"
	v.properties["enable.auto.commit"] = "false"
	if given.has("--enable-autocommit") {
		v.properties["enable.auto.commit"] = "true"
	}
	for name, key := range map[string]string{
		"--group-instance-id": "group.instance.id", "--session-timeout": "session.timeout.ms", "--reset-policy": "auto.offset.reset",
		"--assignment-strategy": "partition.assignment.strategy",
	} {
		if given.has(name) {
			v.properties[key] = given.text(name)
		}
	}
	return v, nil
}

// runVerifiableConsumer is kafka-verifiable-consumer.
func runVerifiableConsumer(ctx context.Context, args []string, std streams) int {
	return verifiableConsumerArguments.run(ctx, args, std, func(given givenArguments) (func() error, error) {
		v, err := newVerifiableConsumer(given)
		if err != nil {
			return nil, err
		}
		v.log = newEventLog(std.out)
		return func() error { return v.run(ctx, std) }, nil
	})
}

// run reads until there are enough messages or ctx ends.
func (v *verifiableConsumer) run(ctx context.Context, std streams) error {
	log := toolLogger(std.err, "org.apache.kafka.tools.VerifiableConsumer")
	settings, warnings, err := config.LoadConsumer(v.properties)
	if err != nil {
		return err
	}
	warnAll(log, warnings)
	log.Warn("consumer groups are not available yet: every partition is read, and no offsets are committed", "group", settings.GroupID)
	cl, err := client.Dial(ctx, strings.Join(settings.Bootstrap, ","), connectionOptions(settings.Connection, settings.APITimeout, log)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	c, err := consumer.New(cl, consumerOptions(settings, log)...)
	if err != nil {
		return err
	}
	v.log.print(eventNow("startup_complete"))
	err = v.assign(ctx, c, log)
	if err == nil {
		v.log.print(partitionsChanged{eventNow("partitions_assigned"), partitionRefs(c.Assignment())})
		s := subscription{client: cl, consumer: c, topics: []string{v.topic}, changed: v.rebalanced}
		stop := s.follow(ctx)
		err = v.readAll(ctx, c)
		stop()
		v.log.print(partitionsChanged{eventNow("partitions_revoked"), partitionRefs(c.Assignment())})
	}
	if closed := c.Close(context.WithoutCancel(ctx)); err == nil {
		err = closed
	}
	v.log.print(eventNow("shutdown_complete"))
	return errors.Join(err, v.log.failed())
}

// assign takes every partition of the topic, and waits until there is one as a member of a group does.
func (v *verifiableConsumer) assign(ctx context.Context, c *consumer.Consumer, log hclog.Logger) error {
	for attempt := 1; ; attempt++ {
		err := c.AssignTopics(ctx, v.topic)
		if err == nil || ctx.Err() != nil || !client.Retriable(err) {
			return err
		}
		log.Debug("the topic is not there yet", "topic", v.topic, "error", err)
		if err := client.Sleep(ctx, client.DefaultBackoff.Wait(attempt)); err != nil {
			return err
		}
	}
}

// rebalanced tells that the topic has got more partitions, in the events of a group that shares them anew.
func (v *verifiableConsumer) rebalanced(before, after []cluster.TopicPartition) {
	v.log.print(partitionsChanged{eventNow("partitions_revoked"), partitionRefs(before)})
	v.log.print(partitionsChanged{eventNow("partitions_assigned"), partitionRefs(after)})
}

// partitionRefs turns partitions into what events hold.
func partitionRefs(tps []cluster.TopicPartition) []partitionRef {
	refs := make([]partitionRef, len(tps))
	for i, tp := range tps {
		refs[i] = partitionRef{tp.Topic, tp.Partition}
	}
	return refs
}

// readAll reads until there are enough messages, and prints them.
func (v *verifiableConsumer) readAll(ctx context.Context, c *consumer.Consumer) error {
	for (v.most < 0 || v.read < v.most) && v.log.failed() == nil {
		batches, err := c.Poll(ctx)
		if err != nil {
			return err
		}
		if err := v.consume(batches); err != nil {
			return err
		}
	}
	return nil
}

// consume prints what one answer of a broker holds, as far as it is wanted.
func (v *verifiableConsumer) consume(batches []consumer.Batch) error {
	e := recordsConsumed{event: eventNow("records_consumed"), Partitions: []recordSummary{}}
	before := v.read
	for i := range batches {
		tp := batches[i].TopicPartition
		at := slices.IndexFunc(e.Partitions, func(s recordSummary) bool { return s.partitionRef == partitionRef{tp.Topic, tp.Partition} })
		for r, err := range batches[i].All() {
			if err != nil {
				return err
			}
			if v.most >= 0 && v.read == v.most {
				break
			}
			if at < 0 {
				at = len(e.Partitions)
				e.Partitions = append(e.Partitions, recordSummary{partitionRef: partitionRef{tp.Topic, tp.Partition}, MinOffset: int64(r.Offset)})
			}
			s := &e.Partitions[at]
			s.Count++
			s.MaxOffset = int64(r.Offset)
			v.read++
			if v.verbose {
				v.log.print(recordData{eventNow("record_data"), textOrNull(r.Key), textOrNull(r.Value), tp.Topic, tp.Partition, int64(r.Offset)})
			}
		}
	}
	if e.Count = v.read - before; e.Count > 0 {
		v.log.print(e)
	}
	return nil
}

// textOrNull is a key or value as text.
func textOrNull(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}
