package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoadProducerDefaults(t *testing.T) {
	got, warnings, err := LoadProducer(Properties{"bootstrap.servers": "a:1, b:2"})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := &Producer{
		Connection: Connection{
			Bootstrap: []string{"a:1", "b:2"}, RequestTimeout: 30 * time.Second, RetryBackoff: 100 * time.Millisecond, RetryBackoffMax: time.Second,
			ReconnectBackoff: 50 * time.Millisecond, ReconnectBackoffMax: time.Second, MetadataMaxAge: 5 * time.Minute, ConnectionsMaxIdle: 9 * time.Minute,
		},
		Acks: -1, Idempotence: true, Retries: 2147483647, MaxInFlight: 5, BatchSize: 16384, BufferMemory: 33554432, MaxBlock: time.Minute,
		DeliveryTimeout: 2 * time.Minute, MaxRequestSize: 1048576, Compression: CompressionConfig{Type: "none"},
		Partitioner: PartitionerConfig{Adaptive: true}, TransactionTimeout: time.Minute,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLoadProducerSettlesIdempotence(t *testing.T) {
	for _, c := range []struct {
		given Properties
		on    bool
		err   string
	}{
		{Properties{}, true, ""},
		{Properties{"acks": "1"}, false, ""},
		{Properties{"acks": "all"}, true, ""},
		{Properties{"retries": "0"}, false, ""},
		{Properties{"max.in.flight.requests.per.connection": "6"}, false, ""},
		{Properties{"enable.idempotence": "false", "acks": "0"}, false, ""},
		{Properties{"enable.idempotence": "true", "acks": "1"}, false, "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence."},
		{Properties{"enable.idempotence": "true", "retries": "0"}, false, "Must set retries to non-zero when using the idempotent producer."},
		{Properties{"transactional.id": "t", "enable.idempotence": "false"}, false, "Cannot set a transactional.id without also enabling idempotence."},
		{Properties{"acks": "2"}, false, "Invalid value 2 for configuration acks: String must be one of: all, -1, 0, 1"},
		{Properties{"delivery.timeout.ms": "1000"}, false, "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms"},
		{Properties{"security.protocol": "SSL"}, false, "Invalid value SSL for configuration security.protocol: only PLAINTEXT is available"},
	} {
		p, _, err := LoadProducer(c.given)
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("%v:\n got %v\nwant %s", c.given, err, c.err)
			}
		case err != nil:
			t.Errorf("%v: %v", c.given, err)
		case p.Idempotence != c.on:
			t.Errorf("%v: idempotence is %v", c.given, p.Idempotence)
		}
	}
	if p, _, err := LoadProducer(Properties{"linger.ms": "100000"}); err != nil || p.DeliveryTimeout != 130*time.Second {
		t.Errorf("the default delivery timeout did not make room for linger.ms: %v %v", p, err)
	}
}

func TestLoadConsumerAndAdmin(t *testing.T) {
	c, warnings, err := LoadConsumer(Properties{"isolation.level": "read_committed", "auto.offset.reset": "earliest", "ssl.protocol": "x", "fetch.min.byte": "1"})
	if err != nil || !c.ReadCommitted || c.AutoOffsetReset != "earliest" || c.AutoCommit || c.Fetch.MaxBytes != 52428800 {
		t.Errorf("%+v %v", c, err)
	}
	if len(warnings) != 2 || warnings[0].Text != "unknown consumer setting fetch.min.byte is ignored; did you mean fetch.min.bytes?" {
		t.Errorf("%v", warnings)
	}
	if _, _, err := LoadConsumer(Properties{"enable.auto.commit": "true"}); err == nil {
		t.Error("auto commit without a group was accepted")
	}
	if c, _, err := LoadConsumer(Properties{"group.id": "g"}); err != nil || !c.AutoCommit {
		t.Errorf("%+v %v", c, err)
	}
	a, _, err := LoadAdmin(Properties{"default.api.timeout.ms": "5000"})
	if err != nil || a.APITimeout != 5*time.Second || a.RequestTimeout != 5*time.Second {
		t.Errorf("%+v %v", a, err)
	}
	if _, _, err := LoadAdmin(Properties{"default.api.timeout.ms": "5000", "request.timeout.ms": "6000"}); err == nil {
		t.Error("an API timeout below the request timeout was accepted")
	}
}

// A setting that nothing acts on is named, unless it is given its default; one of a group is not, because the tools speak of groups themselves.
func TestClientSettingsWithoutEffectAreNamed(t *testing.T) {
	_, warnings, err := LoadProducer(Properties{"transactional.id": "t", "reconnect.backoff.ms": "7", "send.buffer.bytes": "131072", "linger.ms": "5", "ssl.truststore.location": "/x", "nonsense": "1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Warning{
		{Warn, "nonsense", "unknown producer setting nonsense is ignored"},
		{Warn, "reconnect.backoff.ms", "the producer setting reconnect.backoff.ms has no effect: gRPC manages connections by itself"},
		{Warn, "ssl.truststore.location", "the producer setting ssl.truststore.location has no effect: this is not available yet"},
		{Warn, "transactional.id", "the producer setting transactional.id has no effect: this is not available yet"},
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	_, warnings, err = LoadConsumer(Properties{"group.id": "g", "enable.auto.commit": "false", "session.timeout.ms": "6000", "max.poll.records": "1"})
	if err != nil || len(warnings) > 0 {
		t.Errorf("%v, %v", warnings, err)
	}
}
