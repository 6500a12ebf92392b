package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// with returns the settings of a minimal broker, and more: pairs of key and value.
func with(pairs ...string) Properties {
	p := Properties{"zookeeper.connect": "localhost:2181"}
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i]] = pairs[i+1]
	}
	return p
}

// mustServer makes a configuration that has to be right.
func mustServer(t *testing.T, pairs ...string) *Server {
	t.Helper()
	s, _, err := NewServer(with(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTables keeps the whole of every table in a golden file: names, types, defaults and update modes do not change by accident.
func TestTables(t *testing.T) {
	for file, keys := range map[string][]Key{
		"broker_keys.txt": BrokerKeys(), "topic_keys.txt": TopicKeys(), "producer_keys.txt": ProducerKeys(), "consumer_keys.txt": ConsumerKeys(), "admin_keys.txt": AdminKeys(),
	} {
		var b strings.Builder
		for _, k := range keys {
			def := k.Default
			switch {
			case k.Null:
				def = "null"
			case k.Required:
				def = "required"
			default:
				v := k.fallback()
				if v.text() != def {
					t.Errorf("%s: the default %q reads back as %q", k.Name, def, v.text())
				}
				if k.check != nil && k.check(v) != "" {
					t.Errorf("%s: the default %q is not legal: %s", k.Name, def, k.check(v))
				}
				def = fmt.Sprintf("%q", def)
			}
			fmt.Fprintf(&b, "%s %s %s", k.Name, k.Type, def)
			if file == "broker_keys.txt" {
				fmt.Fprintf(&b, " %s", k.Update)
			}
			b.WriteByte('\n')
			if !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("%s: the description is not a sentence: %q", k.Name, k.Doc)
			}
		}
		path := filepath.Join("testdata", file)
		if *rewrite {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", file, diff)
		}
	}
}

func TestEverySettingWithoutEffectIsKnown(t *testing.T) {
	for name := range noEffect {
		if brokerKeys.byName[name] == nil {
			t.Errorf("noEffect names %s, which is no broker setting", name)
		}
	}
	for name, synonyms := range topicSynonyms {
		for _, syn := range synonyms {
			if brokerKeys.byName[syn.name] == nil {
				t.Errorf("%s has the synonym %s, which is no broker setting", name, syn.name)
			}
		}
	}
}

// TestEverySettingHasAnEffectOrIsSaidToHaveNone finds lines of support.go that are out of date, and lines that are missing: a setting has an effect if
// package broker reads it, or an accessor of this package that the broker calls, or if it stands behind a setting of topics.
func TestEverySettingHasAnEffectOrIsSaidToHaveNone(t *testing.T) {
	files, err := filepath.Glob("../broker/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("package broker is not there", err)
	}
	read := map[string]string{}
	for _, file := range append(files, "server.go", "listeners.go", "support.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range brokerKeys.all() {
			if strings.Contains(string(text), `("`+k.Name+`")`) {
				read[k.Name] = file
			}
		}
	}
	behindTopics := map[string]bool{}
	for _, synonyms := range topicSynonyms {
		for _, s := range synonyms {
			behindTopics[s.name] = true
		}
	}
	for _, k := range brokerKeys.all() {
		switch file, none := read[k.Name], noEffect[k.Name] != ""; {
		case k.Dynamic: // refused in a file
		case file != "" && none:
			t.Errorf("%s reads %s, which support.go calls a setting without effect", file, k.Name)
		case file == "" && !none && !behindTopics[k.Name]:
			t.Errorf("nothing reads %s, and support.go does not call it a setting without effect", k.Name)
		}
	}
}

func TestLoadPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	text := "zookeeper.connect=file:2181\nbroker.id=1\nnum.partitions=2\nlog.dirs=/file\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, warnings, err := Load(file, []string{"broker.id=3", "log.dirs=/override=1"}, []string{"KAFKA_BROKER_ID=2", "KAFKA_NUM_PARTITIONS=5", "KAFKA_HEAP_OPTS=-Xmx1G"})
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	if s.BrokerID() != 3 || s.Int("num.partitions") != 5 || s.String("zookeeper.connect") != "file:2181" || s.LogDirs()[0] != "/override=1" {
		t.Errorf("broker.id %d, num.partitions %d, zookeeper.connect %s, log.dirs %v", s.BrokerID(), s.Int("num.partitions"), s.String("zookeeper.connect"), s.LogDirs())
	}
	if s.Source("broker.id") != StaticBroker || s.Source("default.replication.factor") != Default {
		t.Errorf("sources %v, %v", s.Source("broker.id"), s.Source("default.replication.factor"))
	}
	changed, warnings := s.WithDynamic(map[string]string{"log.retention.bytes": "7", "broker.id": "9", "nope": "1", "message.max.bytes": "x"},
		map[string]string{"log.retention.bytes": "8", "min.insync.replicas": "2", "ssl.protocol": "TLSv1.2"})
	if got := changed.Long("log.retention.bytes"); got != 7 {
		t.Errorf("log.retention.bytes is %d, want the broker's own 7", got)
	}
	if changed.Source("min.insync.replicas") != DynamicDefaultBroker || changed.BrokerID() != 3 || s.Int("min.insync.replicas") != 1 {
		t.Errorf("min.insync.replicas from %v, broker.id %d, before %d", changed.Source("min.insync.replicas"), changed.BrokerID(), s.Int("min.insync.replicas"))
	}
	if len(warnings) != 4 {
		t.Errorf("want warnings for broker.id, nope, message.max.bytes and ssl.protocol, got %v", warnings)
	}
	if _, _, err := Load(file, []string{"broker.id"}, nil); err == nil {
		t.Error("an override without = was accepted")
	}
}

func TestWarnings(t *testing.T) {
	_, warnings, err := NewServer(with("num.partition", "3", "log.dir.s", "/x", "my.plugin.setting", "1", "log.dir.failure.timeout.ms", "2", "num.io.threads", "8",
		"leader.replication.throttled.rate", "5"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, fmt.Sprint(w.Severity == Warn, " ", w.Text))
	}
	want := []string{
		"true the setting leader.replication.throttled.rate exists only as a dynamic one, in ZooKeeper; it is ignored",
		"false the setting log.dir.failure.timeout.ms has no effect: this is not available yet",
		"true unknown broker setting log.dir.s is ignored; did you mean log.dirs?",
		"true unknown broker setting my.plugin.setting is ignored",
		"true unknown broker setting num.partition is ignored; did you mean num.partitions?",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestBadValuesHaveKafkasWords(t *testing.T) {
	for _, c := range []struct{ key, text, want string }{
		{"num.partitions", "abc", "Invalid value abc for configuration num.partitions: Not a number of type INT"},
		{"num.partitions", "2147483648", "Invalid value 2147483648 for configuration num.partitions: Not a number of type INT"},
		{"num.partitions", "", "Invalid value  for configuration num.partitions: Not a number of type INT"},
		{"num.partitions", "0", "Invalid value 0 for configuration num.partitions: Value must be at least 1"},
		{"offsets.topic.replication.factor", "40000", "Invalid value 40000 for configuration offsets.topic.replication.factor: Not a number of type SHORT"},
		{"log.retention.bytes", "1.5", "Invalid value 1.5 for configuration log.retention.bytes: Not a number of type LONG"},
		{"delete.topic.enable", "yes", "Invalid value yes for configuration delete.topic.enable: Expected value to be either true or false"},
		{"log.cleaner.min.cleanable.ratio", "1.5", "Invalid value 1.5 for configuration log.cleaner.min.cleanable.ratio: Value must be no more than 1"},
		{"log.cleaner.min.cleanable.ratio", "NaN", "Invalid value NaN for configuration log.cleaner.min.cleanable.ratio: Not a number of type DOUBLE"},
		{"log.cleanup.policy", "delete,shrink", "Invalid value delete,shrink for configuration log.cleanup.policy: String must be one of: compact, delete"},
		{"compression.type", "GZIP", "Invalid value GZIP for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.gzip.level", "0", "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		{"log.segment.bytes", "13", "Invalid value 13 for configuration log.segment.bytes: Value must be at least 14"},
		{"inter.broker.protocol.version", "9.9", "Invalid value 9.9 for configuration inter.broker.protocol.version: Version `9.9` is not a valid version"},
		{"broker.id", "1001", "requirement failed: broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id"},
		{"log.retention.hours", "0", "requirement failed: log.retention.ms must be unlimited (-1) or, equal or greater than 1"},
		{"log.dirs", " , ", "requirement failed: At least one log directory must be defined via log.dirs or log.dir."},
		{"replica.fetch.wait.max.ms", "30001", "requirement failed: replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts"},
		{"replica.lag.time.max.ms", "499", "requirement failed: replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR"},
		{"offsets.topic.compression.codec", "5", "requirement failed: offsets.topic.compression.codec must be 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)"},
		{"queued.max.request.bytes", "1", "requirement failed: queued.max.request.bytes must be larger or equal to socket.request.max.bytes"},
		{"connections.max.idle.ms", "100", "requirement failed: connection.failed.authentication.delay.ms=100 should always be less than connections.max.idle.ms=100 to prevent failed authentication responses from timing out"},
		{"log.cleaner.dedupe.buffer.size", "1048576", "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."},
		{"zookeeper.connect", "/chroot", `Missing required configuration "zookeeper.connect" which has no default value.`},
		{"listeners", "", "requirement failed: At least one listener must be defined in listeners"},
		{"listeners", "localhost:9092", "Error creating broker listeners from 'localhost:9092': Unable to parse localhost:9092 to a broker endpoint"},
		{"listeners", "PLAINTEXT://:70000", "Error creating broker listeners from 'PLAINTEXT://:70000': Unable to parse PLAINTEXT://:70000 to a broker endpoint: the port is out of range"},
		{"listeners", "FOO://:9092", "Error creating broker listeners from 'FOO://:9092': No security protocol defined for listener FOO"},
		{"listeners", "PLAINTEXT://:1,PLAINTEXT://:2", "Error creating broker listeners from 'PLAINTEXT://:1,PLAINTEXT://:2': Each listener must have a different name, listeners: PLAINTEXT://:1,PLAINTEXT://:2"},
		{"listeners", "PLAINTEXT://:1,SSL://:1", "Error creating broker listeners from 'PLAINTEXT://:1,SSL://:1': Each listener must have a different port, listeners: PLAINTEXT://:1,SSL://:1"},
		{"listeners", "SSL://:1", "requirement failed: inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are SSL"},
		{"listeners", "PLAINTEXT://:1,SSL://:2", "Invalid value PLAINTEXT://:1,SSL://:2 for configuration listeners: the security protocol SSL of listener SSL is not available yet; use PLAINTEXT"},
		{"listeners", "PLAINTEXT://0.0.0.0:9092", "requirement failed: advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."},
		{"advertised.listeners", "SSL://h:1", "requirement failed: advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found SSL. The valid options based on the current configuration are PLAINTEXT"},
		{"inter.broker.listener.name", "INSIDE", "requirement failed: inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are PLAINTEXT"},
		{"control.plane.listener.name", "PLAINTEXT", "requirement failed: control.plane.listener.name, when defined, should have a different value from the inter broker listener name. Currently they both have the value PLAINTEXT"},
		{"authorizer.class.name", "kafka.security.authorizer.AclAuthorizer", "Invalid value kafka.security.authorizer.AclAuthorizer for configuration authorizer.class.name: authorization is not available yet, and without it everybody could do everything; remove the setting to start anyway"},
	} {
		_, _, err := NewServer(with(c.key, c.text))
		var typed *Error
		if err == nil || !errors.As(err, &typed) || err.Error() != c.want {
			t.Errorf("%s=%s:\n got %v\nwant %s", c.key, c.text, err, c.want)
		}
	}
	if _, _, err := NewServer(Properties{}); err == nil || err.Error() != `Missing required configuration "zookeeper.connect" which has no default value.` {
		t.Errorf("no zookeeper.connect: %v", err)
	}
}

func TestListeners(t *testing.T) {
	s := mustServer(t, "listeners", "INTERNAL://:19092, external://0.0.0.0:9092,V6://[::1]:9092", "advertised.listeners", "INTERNAL://broker-1:19092,EXTERNAL://localhost:9092",
		"listener.security.protocol.map", "INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,V6:PLAINTEXT", "inter.broker.listener.name", "INTERNAL")
	want := []cluster.Endpoint{
		{Listener: "INTERNAL", SecurityProtocol: "PLAINTEXT", Port: 19092},
		{Listener: "EXTERNAL", SecurityProtocol: "PLAINTEXT", Host: "0.0.0.0", Port: 9092},
		{Listener: "V6", SecurityProtocol: "PLAINTEXT", Host: "::1", Port: 9092},
	}
	if diff := cmp.Diff(want, s.Listeners()); diff != "" {
		t.Errorf("listeners (-want +got)\n%s", diff)
	}
	if got := s.AdvertisedListeners(); len(got) != 2 || got[0].Host != "broker-1" || s.InterBrokerListener() != "INTERNAL" {
		t.Errorf("advertised %v, inter-broker %s", got, s.InterBrokerListener())
	}
	plain := mustServer(t)
	if got := plain.Listeners(); len(got) != 1 || got[0].Addr() != ":9092" || plain.InterBrokerListener() != "PLAINTEXT" {
		t.Errorf("default listeners %v, inter-broker %s", got, plain.InterBrokerListener())
	}
}

func TestDerivedValues(t *testing.T) {
	s := mustServer(t, "log.dirs", "/a, /b,/a")
	if diff := cmp.Diff([]string{"/a", "/b"}, s.LogDirs()); diff != "" {
		t.Error(diff)
	}
	if got := s.ZooKeeperConnectionTimeout(); got != 18*time.Second {
		t.Errorf("connection timeout %v, want the session timeout", got)
	}
	if got := mustServer(t, "zookeeper.connection.timeout.ms", "6000").ZooKeeperConnectionTimeout(); got != 6*time.Second {
		t.Errorf("connection timeout %v", got)
	}
	if got := s.Milliseconds("log.flush.scheduler.interval.ms"); got < 290*365*24*time.Hour {
		t.Errorf("Long.MaxValue milliseconds became %v", got)
	}
	if got := mustServer(t, "password.encoder.secret", "hunter2").Text("password.encoder.secret"); got != "[hidden]" {
		t.Errorf("a password is shown: %q", got)
	}
}

func TestSampleFilesLoad(t *testing.T) {
	s, warnings, err := Load("server.properties", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if w.Severity == Warn {
			t.Errorf("server.properties: %s", w.Text)
		}
	}
	for key, want := range map[string]string{
		"broker.id": "0", "log.dirs": "/tmp/kafka-logs", "zookeeper.connect": "localhost:2181", "zookeeper.connection.timeout.ms": "18000",
		"group.initial.rebalance.delay.ms": "0", "offsets.topic.replication.factor": "1", "log.segment.bytes": "1073741824",
	} {
		if got := s.Text(key); got != want || s.Source(key) != StaticBroker {
			t.Errorf("server.properties: %s is %s from %v, want %s", key, got, s.Source(key), want)
		}
	}
	p, err := ReadProperties("producer.properties")
	if err != nil {
		t.Fatal(err)
	}
	if _, w, err := LoadProducer(p); err != nil || len(w) > 0 {
		t.Error(err, w)
	}
	c, err := ReadProperties("consumer.properties")
	if err != nil {
		t.Fatal(err)
	}
	if got, w, err := LoadConsumer(c); err != nil || len(w) > 0 || got.GroupID != "test-consumer-group" {
		t.Error(got, err, w)
	}
}
