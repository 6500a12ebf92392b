package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/config"
)

// verifiableProducerArguments is the command line of kafka-verifiable-producer (F§7.13).
var verifiableProducerArguments = arguments{
	program: "verifiable-producer",
	usage: `usage: verifiable-producer [-h] --topic TOPIC [--max-messages MAX-MESSAGES] [--throughput THROUGHPUT] [--acks ACKS]
                           [--producer.config CONFIG_FILE] [--message-create-time CREATETIME] [--value-prefix VALUE-PREFIX]
                           [--repeating-keys REPEATING-KEYS]
                           (--bootstrap-server HOST1:PORT1[,HOST2:PORT2[...]] | --broker-list HOST1:PORT1[,HOST2:PORT2[...]])
`,
	help: `
This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each "send" request, making externally visible
which messages have been acked and which have not.

  --topic TOPIC              write to this topic
  --bootstrap-server SERVERS the brokers to ask first; --broker-list is the old name
  --max-messages N           how many messages to write; without end if negative (default: -1)
  --throughput N             messages a second, approximately; without limit if negative (default: -1)
  --acks N                   what a write has to wait for: 0, 1 or -1 (default: -1)
  --producer.config FILE     a file with settings of the producer, which win over what this tool sets: retries=0 and acks
  --message-create-time MS   the first message's timestamp, in milliseconds since the epoch; later ones are as much later as they are sent
  --value-prefix N           put this number and a dot in front of each value
  --repeating-keys N         give the messages the keys 0 to N-1, again and again
`,
	values: []string{
		"--topic", "--bootstrap-server", "--broker-list", "--max-messages", "--throughput", "--acks", "--producer.config", "--message-create-time",
		"--value-prefix", "--repeating-keys",
	},
	required: []string{"--topic"},
}

// verifiableProducer is kafka-verifiable-producer at work. Its counters are set by the producer's callbacks.
type verifiableProducer struct {
	topic       string
	maxMessages int64 // without end if negative
	throughput  int64
	createTime  int64 // negative: now
	prefix      string
	keys        int32 // 0: none
	properties  config.Properties

	log   *eventLog
	sent  int64
	acked atomic.Int64
}

// The events of the producer. Where a key may be null it is a pointer.
type (
	// sendSuccess is a message that was written.
	sendSuccess struct {
		event
		Key       *string `json:"key"`
		Value     string  `json:"value"`
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Offset    int64   `json:"offset"`
	}
	// sendError is a message that was not, as far as is known.
	sendError struct {
		event
		Key       *string `json:"key"`
		Value     string  `json:"value"`
		Topic     string  `json:"topic"`
		Exception string  `json:"exception"`
		Message   string  `json:"message"`
	}
	// toolData is the summary.
	toolData struct {
		event
		Sent             int64   `json:"sent"`
		Acked            int64   `json:"acked"`
		TargetThroughput int64   `json:"target_throughput"`
		AvgThroughput    float64 `json:"avg_throughput"`
	}
)

// newVerifiableProducer makes the tool from its command line.
func newVerifiableProducer(given givenArguments) (*verifiableProducer, error) {
	v := &verifiableProducer{topic: given.text("--topic"), properties: config.Properties{"retries": "0", "acks": "-1"}}
	bootstrap, err := exclusiveServers(given)
	if err != nil {
		return nil, err
	}
	v.properties["bootstrap.servers"] = bootstrap
	most, err1 := given.integer("--max-messages", -1)
	throughput, err2 := given.integer("--throughput", -1)
	createTime, err3 := given.long("--message-create-time", -1)
	prefix, err4 := given.integer("--value-prefix", 0)
	keys, err5 := given.integer("--repeating-keys", 0)
	if err := firstError(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	v.maxMessages, v.throughput, v.createTime, v.keys = int64(most), int64(throughput), createTime, keys
	if given.has("--value-prefix") {
		v.prefix = strconv.Itoa(int(prefix)) + "."
	}
	if given.has("--repeating-keys") && keys <= 0 {
		return nil, fmt.Errorf("argument --repeating-keys: '%d' should be greater than zero", keys)
	}
	if given.has("--acks") {
		switch acks := given.text("--acks"); acks {
		case "0", "1", "-1":
			v.properties["acks"] = acks
		default:
			return nil, fmt.Errorf("argument --acks: invalid choice: '%s' (choose from {0,1,-1})", acks)
		}
	}
	if given.has("--producer.config") {
		file, err := config.ReadProperties(given.text("--producer.config"))
		if err != nil {
			return nil, err
		}
		maps.Copy(v.properties, file)
	}
	return v, nil
}

// exclusiveServers returns the brokers to ask first, which one of two options names.
func exclusiveServers(given givenArguments) (string, error) {
	bootstrap, list := given.text("--bootstrap-server"), given.text("--broker-list")
	switch {
	case bootstrap != "" && list != "":
		return "", errors.New("argument --broker-list: not allowed with argument --bootstrap-server")
	case bootstrap == "" && list == "":
		return "", errors.New("one of the arguments --bootstrap-server --broker-list is required")
	case bootstrap == "":
		return list, nil
	}
	return bootstrap, nil
}

// runVerifiableProducer is kafka-verifiable-producer.
func runVerifiableProducer(ctx context.Context, args []string, std streams) int {
	return verifiableProducerArguments.run(ctx, args, std, func(given givenArguments) (func() error, error) {
		v, err := newVerifiableProducer(given)
		if err != nil {
			return nil, err
		}
		v.log = newEventLog(std.out)
		return func() error { return v.run(ctx, std) }, nil
	})
}

// run writes messages until there are enough or ctx ends, waits for their outcomes and prints the summary.
func (v *verifiableProducer) run(ctx context.Context, std streams) error {
	log := toolLogger(std.err, "org.apache.kafka.tools.VerifiableProducer")
	settings, warnings, err := config.LoadProducer(v.properties)
	if err != nil {
		return err
	}
	warnAll(log, warnings)
	options, err := producerOptions(settings, log)
	if err != nil {
		return err
	}
	cl, err := client.Dial(ctx, strings.Join(settings.Bootstrap, ","), connectionOptions(settings.Connection, settings.MaxBlock, log)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	p, err := producer.New(cl, options...)
	if err != nil {
		return err
	}
	start := time.Now()
	v.log.print(eventNow("startup_complete"))
	v.sendAll(ctx, p, start)
	// The producer's delivery timeout bounds this.
	err = p.Close(context.WithoutCancel(ctx))
	v.log.print(eventNow("shutdown_complete"))
	acked := v.acked.Load()
	v.log.print(toolData{
		eventNow("tool_data"), v.sent, acked, v.throughput,
		1000 * float64(acked) / float64(max(1, time.Since(start).Milliseconds())),
	})
	return errors.Join(err, v.log.failed())
}

// sendAll writes the messages, and stops when nobody reads the events.
func (v *verifiableProducer) sendAll(ctx context.Context, p *producer.Producer, start time.Time) {
	pace := newPacer(float64(v.throughput), start)
	key := int32(0)
	for i := int64(0); (v.maxMessages < 0 || i < v.maxMessages) && ctx.Err() == nil && v.log.failed() == nil; i++ {
		m := &message{tool: v, value: v.prefix + strconv.FormatInt(i, 10)}
		r := producer.Record{Topic: v.topic, Value: []byte(m.value)}
		if v.keys > 0 {
			text := strconv.Itoa(int(key))
			m.key, r.Key = &text, []byte(text)
			key = (key + 1) % v.keys
		}
		if v.createTime >= 0 {
			r.Timestamp = time.UnixMilli(v.createTime + time.Since(start).Milliseconds())
		}
		v.sent++
		if err := p.SendAsync(ctx, r, m.done); err != nil {
			m.done(producer.Result{}, err)
		}
		if v.throughput == 0 {
			<-ctx.Done()
		}
		if pace.wait(ctx, i+1) != nil {
			return
		}
	}
}

// message is a message that was sent.
type message struct {
	tool  *verifiableProducer
	key   *string
	value string
}

// done prints the outcome.
func (m *message) done(r producer.Result, err error) {
	v := m.tool
	if err != nil {
		v.log.print(sendError{eventNow("producer_send_error"), m.key, m.value, v.topic, javaException(err), text(err)})
		return
	}
	v.acked.Add(1)
	v.log.print(sendSuccess{eventNow("producer_send_success"), m.key, m.value, v.topic, r.Partition, int64(r.Offset)})
}
