package znode

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
)

// codec is one JSON form: its text, as Kafka writes it, and what it means.
type codec struct {
	name   string
	text   string
	value  any
	encode func() []byte
	decode func([]byte) (any, error)
}

// with adapts a decoder.
func with[T any](decode func(string, []byte) (T, error)) func([]byte) (any, error) {
	return func(data []byte) (any, error) { return decode("/p", data) }
}

func codecs(t testing.TB) []codec {
	t.Helper()
	id, err := cluster.ParseTopicID("ySwRHqMZSdaMsN8yXNWUaQ")
	if err != nil {
		t.Fatal(err)
	}
	b := Broker{
		Endpoints: []cluster.Endpoint{
			{Listener: "INTERNAL", SecurityProtocol: "SSL", Host: "h1", Port: 9093},
			{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: "::1", Port: 9092},
		},
		JMXPort: -1, Timestamp: 1729850000000, Rack: "r1",
	}
	bare := Broker{Endpoints: []cluster.Endpoint{{Listener: "SSL", SecurityProtocol: "SSL", Host: "h", Port: 1}}, JMXPort: -1}
	lasting := bare
	lasting.Since = 77
	c := Controller{Broker: 0, Timestamp: 1729850000000}
	topic := Topic{
		ID:       id,
		Replicas: map[int32][]cluster.BrokerID{0: {1, 2, 3}, 1: {2, 3, 1}},
		Adding:   map[int32][]cluster.BrokerID{}, Removing: map[int32][]cluster.BrokerID{1: {1}},
	}
	state := PartitionState{ControllerEpoch: 5, Leader: 1, LeaderEpoch: 3, ISR: []cluster.BrokerID{1, 2, 3}}
	recovering := PartitionState{ControllerEpoch: 5, Leader: 1, LeaderEpoch: 3, ISR: []cluster.BrokerID{1}, Recovery: Recovering}
	cfg := map[string]string{"retention.ms": "1000", "a<b": "&"}
	entity := Entity{Type: UserEntity, Name: "a b", Client: "c*"}
	moves := []Reassignment{{cluster.TopicPartition{Topic: "t", Partition: 0}, []cluster.BrokerID{4, 5, 6}}}
	tps := []cluster.TopicPartition{{Topic: "t", Partition: 0}}
	block := ProducerIDBlock{Broker: 1, Start: 1000, End: 1999}
	feature := Feature{Status: FeaturesEnabled, Levels: map[string]int16{"f": 3}}
	acls := []ACL{{"User:alice", "Allow", "Read", "*"}}
	prefixed := ACLChange{"TOPIC", "t1", "PREFIXED"}
	literal := ACLChange{"TOPIC", "a:b", "LITERAL"}
	token := DelegationToken{ID: "i", Owner: "User:alice", Requester: "User:alice", Renewers: []string{"User:bob"}, Issued: 1, Max: 2, Expiry: 3}
	return []codec{
		{"broker", `{"version":5,"host":"::1","port":9092,"jmx_port":-1,"timestamp":"1729850000000","endpoints":["INTERNAL://h1:9093","PLAINTEXT://[::1]:9092"],"listener_security_protocol_map":{"INTERNAL":"SSL","PLAINTEXT":"PLAINTEXT"},"rack":"r1","features":{}}`, b, b.Encode, with(DecodeBroker)},
		{"broker that registers again", `{"version":5,"host":null,"port":-1,"jmx_port":-1,"timestamp":"0","endpoints":["SSL://h:1"],"listener_security_protocol_map":{"SSL":"SSL"},"features":{},"ottla_since":77}`, lasting, lasting.Encode, with(DecodeBroker)},
		{"broker without a plaintext endpoint", `{"version":5,"host":null,"port":-1,"jmx_port":-1,"timestamp":"0","endpoints":["SSL://h:1"],"listener_security_protocol_map":{"SSL":"SSL"},"features":{}}`, bare, bare.Encode, with(DecodeBroker)},
		{"controller", `{"version":2,"brokerid":0,"timestamp":"1729850000000","kraftControllerEpoch":-1}`, c, c.Encode, with(DecodeController)},
		{"controller epoch", `7`, cluster.ControllerEpoch(7), func() []byte { return EncodeControllerEpoch(7) }, with(DecodeControllerEpoch)},
		{"brokers' secret", `{"version":1,"secret":"MFRGG"}`, "MFRGG", func() []byte { return EncodeBrokerSecret("MFRGG") }, with(DecodeBrokerSecret)},
		{"cluster id", `{"version":"1","id":"MkU3OEVBNTcwNTJENDM2Qg"}`, "MkU3OEVBNTcwNTJENDM2Qg", func() []byte { return EncodeClusterID("MkU3OEVBNTcwNTJENDM2Qg") }, with(DecodeClusterID)},
		{"topic", `{"version":3,"topic_id":"ySwRHqMZSdaMsN8yXNWUaQ","partitions":{"0":[1,2,3],"1":[2,3,1]},"adding_replicas":{},"removing_replicas":{"1":[1]}}`, topic, topic.Encode, with(DecodeTopic)},
		{"partition state", `{"version":1,"controller_epoch":5,"leader":1,"leader_epoch":3,"isr":[1,2,3]}`, state, state.Encode, with(DecodePartitionState)},
		{"recovering partition state", `{"version":1,"controller_epoch":5,"leader":1,"leader_epoch":3,"isr":[1],"leader_recovery_state":1}`, recovering, recovering.Encode, with(DecodePartitionState)},
		{"config", `{"version":1,"config":{"a<b":"&","retention.ms":"1000"}}`, cfg, func() []byte { return EncodeConfig(cfg) }, with(DecodeConfig)},
		{"empty config", `{"version":1,"config":{}}`, map[string]string{}, func() []byte { return EncodeConfig(nil) }, with(DecodeConfig)},
		{"config change", `{"version":2,"entity_path":"users/a%20b/clients/c%2A"}`, entity, func() []byte { return EncodeConfigChange(entity) }, with(DecodeConfigChange)},
		{"reassignment", `{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[4,5,6]}]}`, moves, func() []byte { return EncodeReassignments(moves) }, with(DecodeReassignments)},
		{"preferred election", `{"version":1,"partitions":[{"topic":"t","partition":0}]}`, tps, func() []byte { return EncodePreferredElection(tps) }, with(DecodePreferredElection)},
		{"isr change", `{"version":1,"partitions":[{"topic":"t","partition":0}]}`, tps, func() []byte { return EncodeISRChange(tps) }, with(DecodeISRChange)},
		{"log dir event", `{"version":1,"broker":1,"event":1}`, cluster.BrokerID(1), func() []byte { return EncodeLogDirEvent(1) }, with(DecodeLogDirEvent)},
		{"producer id block", `{"version":1,"broker":1,"block_start":"1000","block_end":"1999"}`, block, block.Encode, with(decodeClaimed)},
		{"feature", `{"version":2,"status":1,"features":{"f":{"max_version_level":3}}}`, feature, feature.Encode, with(DecodeFeature)},
		{"acls", `{"version":1,"acls":[{"principal":"User:alice","permissionType":"Allow","operation":"Read","host":"*"}]}`, acls, func() []byte { return EncodeACLs(acls) }, with(DecodeACLs)},
		{"acl change", `{"version":1,"resourceType":"TOPIC","name":"t1","patternType":"PREFIXED"}`, prefixed, prefixed.Encode, with(DecodeACLChange)},
		{"literal acl change", `TOPIC:a:b`, literal, literal.Encode, with(DecodeACLChange)},
		{"delegation token", `{"version":3,"owner":"User%3Aalice","tokenRequester":"User%3Aalice","renewers":["User%3Abob"],"issueTimestamp":1,"maxTimestamp":2,"expiryTimestamp":3,"tokenId":"i"}`, token, token.Encode, with(DecodeDelegationToken)},
		{"consumer offset", `42`, cluster.Offset(42), func() []byte { return EncodeConsumerOffset(42) }, with(DecodeConsumerOffset)},
	}
}

// decodeClaimed hides the second result of DecodeProducerIDBlock.
func decodeClaimed(path string, data []byte) (ProducerIDBlock, error) {
	b, claimed, err := DecodeProducerIDBlock(path, data)
	if err == nil && !claimed {
		err = errors.New("none claimed")
	}
	return b, err
}

func TestEveryFormIsWrittenAndReadAsKafkaDoes(t *testing.T) {
	for _, c := range codecs(t) {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.text, string(c.encode())); diff != "" {
				t.Errorf("encode (-want +got):\n%s", diff)
			}
			got, err := c.decode([]byte(c.text))
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if diff := cmp.Diff(c.value, got); diff != "" {
				t.Errorf("decode (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodersTakeOtherVersionsAnyKeyOrderAndUnknownKeys(t *testing.T) {
	plain := func(host string, port int32) []cluster.Endpoint {
		return []cluster.Endpoint{{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: host, Port: port}}
	}
	for _, c := range []struct {
		name   string
		text   string
		want   any
		decode func([]byte) (any, error)
	}{
		{"broker version 1", `{"port":9092,"host":"h","version":1,"jmx_port":9999,"timestamp":"12"}`, Broker{Endpoints: plain("h", 9092), JMXPort: 9999, Timestamp: 12}, with(DecodeBroker)},
		{"broker version 2 with a numeric timestamp", `{"endpoints":["PLAINTEXT://h:9092"],"timestamp":12,"version":2,"new":{"x":[1]}}`, Broker{Endpoints: plain("h", 9092), JMXPort: -1, Timestamp: 12}, with(DecodeBroker)},
		{"broker with another's idea of since", `{"endpoints":["PLAINTEXT://h:9092"],"version":5,"ottla_since":"x"}`, Broker{Endpoints: plain("h", 9092), JMXPort: -1}, with(DecodeBroker)},
		{"broker with features and a null rack", `{"endpoints":["PLAINTEXT://h:9092"],"rack":null,"features":{"f":{"min_version":1,"max_version":2}},"version":6}`, Broker{Endpoints: plain("h", 9092), JMXPort: -1, Features: map[string]VersionRange{"f": {1, 2}}}, with(DecodeBroker)},
		{"controller version 1", `{"version":1,"brokerid":3,"timestamp":"5"}`, Controller{3, 5}, with(DecodeController)},
		{"topic version 1", `{"partitions":{"10":[1],"9":[]},"version":1}`, Topic{Replicas: map[int32][]cluster.BrokerID{10: {1}, 9: {}}, Adding: map[int32][]cluster.BrokerID{}, Removing: map[int32][]cluster.BrokerID{}}, with(DecodeTopic)},
		{"null config", ``, map[string]string{}, with(DecodeConfig)},
		{"config without settings", `{"version":1}`, map[string]string{}, with(DecodeConfig)},
		{"config change version 1", `{"version":1,"entity_type":"topics","entity_name":"t"}`, Entity{Type: TopicEntity, Name: "t"}, with(DecodeConfigChange)},
		{"feature version 1", `{"version":1,"status":0,"features":{"f":{"min_version_level":1,"max_version_level":3}}}`, Feature{FeaturesDisabled, map[string]int16{"f": 3}}, with(DecodeFeature)},
		{"token version 1", `{"version":1,"owner":"User:a","renewers":[],"issueTimestamp":1,"maxTimestamp":2,"expiryTimestamp":3,"tokenId":"i"}`, DelegationToken{ID: "i", Owner: "User:a", Requester: "User:a", Renewers: []string{}, Issued: 1, Max: 2, Expiry: 3}, with(DecodeDelegationToken)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.decode([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCorruptContentIsRefusedWithThePathAndTheFault(t *testing.T) {
	for _, c := range []struct {
		text   string
		fault  string
		decode func([]byte) (any, error)
	}{
		{``, "empty", with(DecodeTopic)},
		{`[1]`, "want a JSON object", with(DecodeTopic)},
		{`null`, "want a JSON object", with(DecodePartitionState)},
		{`{"version":1,`, "not JSON at byte 13", with(DecodePartitionState)},
		{`{"leader":1} x`, "not JSON at byte 14", with(DecodePartitionState)},
		{`{"leader":1}`, `"controller_epoch" is missing`, with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader_epoch":1,"isr":[]}`, `"leader" is missing`, with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader":1,"isr":[]}`, `"leader_epoch" is missing`, with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader":1,"leader_epoch":1}`, `"isr" is missing`, with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader":-2,"leader_epoch":1,"isr":[]}`, "leader is -2", with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader":1,"leader_epoch":-1,"isr":[]}`, "leader_epoch is -1", with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader":1,"leader_epoch":99999999999,"isr":[]}`, "leader_epoch", with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader":1,"leader_epoch":1,"isr":[-1]}`, "isr holds the broker id -1", with(DecodePartitionState)},
		{`{"controller_epoch":1,"leader":1,"leader_epoch":1,"isr":[1],"leader_recovery_state":2}`, "leader_recovery_state is 2", with(DecodePartitionState)},
		{`{"version":3}`, `"partitions" is missing`, with(DecodeTopic)},
		{`{"partitions":{"x":[1]}}`, `"x"`, with(DecodeTopic)},
		{`{"partitions":{"-1":[1]}}`, `"-1"`, with(DecodeTopic)},
		{`{"partitions":{"1":[1],"01":[1]}}`, "partition 1 twice", with(DecodeTopic)},
		{`{"partitions":{"1":[-4]}}`, "broker id -4", with(DecodeTopic)},
		{`{"partitions":{},"topic_id":"short"}`, "topic_id", with(DecodeTopic)},
		{`{"version":0,"endpoints":["A://b:1"]}`, "version is 0", with(DecodeBroker)},
		{`{"version":1}`, "without host and port", with(DecodeBroker)},
		{`{"version":5,"endpoints":[]}`, "no endpoints", with(DecodeBroker)},
		{`{"version":5,"endpoints":["h:9092"]}`, "endpoint", with(DecodeBroker)},
		{`{"version":5,"endpoints":["P://h:x"]}`, "no port", with(DecodeBroker)},
		{`{"version":5,"endpoints":["P://h:1"],"timestamp":"soon"}`, "milliseconds", with(DecodeBroker)},
		{`{"version":2}`, `"brokerid" is missing`, with(DecodeController)},
		{`{"brokerid":-1}`, "brokerid is -1", with(DecodeController)},
		{`-1`, "want a number", with(DecodeControllerEpoch)},
		{`1 `, "want a number", with(DecodeControllerEpoch)},
		{`2147483647`, "want a number from 0 to 2147483646", with(DecodeControllerEpoch)},
		{`2147483648`, "want a number", with(DecodeControllerEpoch)},
		{`{"version":"1"}`, `"id" is missing`, with(DecodeClusterID)},
		{`{"version":1,"secret":""}`, `"secret" is missing`, with(DecodeBrokerSecret)},
		{`{"config":{"a":1}}`, "not the expected JSON", with(DecodeConfig)},
		{`{"config":{"a":null}}`, "null", with(DecodeConfig)},
		{`{"version":3,"entity_path":"topics/t"}`, "version is 3", with(DecodeConfigChange)},
		{`{"version":2,"entity_path":"topics"}`, "want <type>/<name>", with(DecodeConfigChange)},
		{`{"version":2,"entity_path":"planets/x"}`, "unknown type", with(DecodeConfigChange)},
		{`{"version":2,"entity_path":"users/%zz"}`, "decode the name", with(DecodeConfigChange)},
		{`{"version":1,"entity_type":"users","entity_name":"t"}`, "version 1", with(DecodeConfigChange)},
		{`{"partitions":[{"partition":0}]}`, "entry 0 of partitions has no topic", with(DecodeISRChange)},
		{`{"partitions":[{"topic":"t"}]}`, "has no partition", with(DecodeISRChange)},
		{`{"partitions":[{"topic":"t","partition":-1}]}`, "has the partition -1", with(DecodePreferredElection)},
		{`{"partitions":[{"topic":"t","partition":1}]}`, "has no replicas", with(DecodeReassignments)},
		{`{"version":1}`, `"partitions" is missing`, with(DecodeReassignments)},
		{`{"version":1}`, `"broker" is missing`, with(DecodeLogDirEvent)},
		{`{"broker":1,"block_start":"5","block_end":"4"}`, "not a range", with(decodeClaimed)},
		{`{"version":3,"status":1}`, "version is 3", with(DecodeFeature)},
		{`{"version":2,"status":2}`, "status is 2", with(DecodeFeature)},
		{`{"version":2,"status":1,"features":{"f":{}}}`, "max_version_level", with(DecodeFeature)},
		{`{"version":1,"acls":[{"principal":"User:a"}]}`, "entry 0 of acls", with(DecodeACLs)},
		{`TOPIC`, "want <type>:<name>", with(DecodeACLChange)},
		{`{"version":4}`, "version is 4", with(DecodeDelegationToken)},
		{`x`, "want an offset", with(DecodeConsumerOffset)},
	} {
		_, err := c.decode([]byte(c.text))
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Path != "/p" {
			t.Errorf("%s: error %v, want a CorruptError of /p", c.text, err)
			continue
		}
		if !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), "/p") {
			t.Errorf("%s: error %q does not name the path and %q", c.text, err, c.fault)
		}
	}
}

func TestPaths(t *testing.T) {
	tp := cluster.TopicPartition{Topic: "a.b-c", Partition: 12}
	for got, want := range map[string]string{
		BrokerPath(7):          "/brokers/ids/7",
		PartitionStatePath(tp): "/brokers/topics/a.b-c/partitions/12/state",
		DeleteTopicPath("t"):   "/admin/delete_topics/t",
		Entity{Type: TopicEntity, Name: "a.b"}.Path():                              "/config/topics/a.b",
		Entity{Type: BrokerEntity, Name: DefaultEntity}.Path():                     "/config/brokers/<default>",
		Entity{Type: UserEntity, Name: "CN=a b,O=*", Client: DefaultEntity}.Path(): "/config/users/CN%3Da%20b%2CO%3D%2A/clients/<default>",
		Entity{Type: ClientEntity, Name: "ü~_.-"}.Path():                           "/config/clients/%C3%BC%7E_.-",
		Entity{Type: IPEntity, Name: "1.2.3.4"}.Path():                             "/config/ips/1.2.3.4",
		ConfigTypePath(TopicEntity):                                                "/config/topics",
		ConfigChangePrefix:                                                         "/config/changes/config_change_",
		ISRChangePrefix:                                                            "/isr_change_notification/isr_change_",
		LogDirEventPrefix:                                                          "/log_dir_event_notification/log_dir_event_",
		ACLChangePrefix:                                                            "/kafka-acl-changes/acl_changes_",
		ExtendedACLChangePrefix:                                                    "/kafka-acl-extended-changes/acl_changes_",
		DelegationTokenChangePrefix:                                                "/delegation_token/token_changes/token_change_",
		ResourceACLPath("Topic", "*"):                                              "/kafka-acl/Topic/*",
		PrefixedACLPath("Group", "g"):                                              "/kafka-acl-extended/prefixed/Group/g",
		DelegationTokenPath("i"):                                                   "/delegation_token/tokens/i",
		ConsumerOffsetPath("g", tp):                                                "/consumers/g/offsets/a.b-c/12",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if topic, ok := ParseTopicPath("/brokers/topics/t"); !ok || topic != "t" {
		t.Errorf("ParseTopicPath: got %q %v", topic, ok)
	}
	for _, path := range []string{"/brokers/topics", "/brokers/topics/", "/brokers/topics/t/partitions", "/x/t"} {
		if topic, ok := ParseTopicPath(path); ok {
			t.Errorf("ParseTopicPath(%q) = %q, want none", path, topic)
		}
	}
	if id, err := ParseBrokerID("12"); err != nil || id != 12 {
		t.Errorf("ParseBrokerID(12) = %d, %v", id, err)
	}
	for _, name := range []string{"", "-1", "x", "2147483648"} {
		if _, err := ParseBrokerID(name); err == nil {
			t.Errorf("ParseBrokerID(%q) succeeded", name)
		}
	}
	if n, ok := Sequence("/config/changes/config_change_0000000012"); !ok || n != 12 {
		t.Errorf("Sequence: got %d %v", n, ok)
	}
	for _, name := range []string{"config_change_", "config_change_12", "other_0000000012", "config_change_00000000x2"} {
		if n, ok := Sequence(name); ok {
			t.Errorf("Sequence(%q) = %d, want none", name, n)
		}
	}
}

func TestProducerIDBlocksFollowEachOtherAndEnd(t *testing.T) {
	empty, claimed, err := DecodeProducerIDBlock("/p", nil)
	if err != nil || claimed {
		t.Fatalf("a node without data: %v, claimed %v", err, claimed)
	}
	first, ok := empty.Next(4)
	if want := (ProducerIDBlock{4, 0, 999}); !ok || first != want {
		t.Errorf("first block %v, want %v", first, want)
	}
	if _, ok := (ProducerIDBlock{1, 0, 9223372036854775807 - 5}).Next(1); ok {
		t.Error("a block past the largest id was handed out")
	}
}

// FuzzDecode feeds every decoder: none may panic, every error must name the path, and what was read must survive being
// written and read again.
func FuzzDecode(f *testing.F) {
	for _, c := range codecs(f) {
		f.Add([]byte(c.text))
	}
	f.Add([]byte(`{"version":1,"partitions":{"0":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, data, DecodeBroker, Broker.Encode)
		check(t, data, DecodeController, Controller.Encode)
		check(t, data, DecodeControllerEpoch, EncodeControllerEpoch)
		check(t, data, DecodeClusterID, EncodeClusterID)
		check(t, data, DecodeBrokerSecret, EncodeBrokerSecret)
		check(t, data, DecodeTopic, Topic.Encode)
		check(t, data, DecodePartitionState, PartitionState.Encode)
		check(t, data, DecodeConfig, EncodeConfig)
		check(t, data, DecodeConfigChange, EncodeConfigChange)
		check(t, data, DecodeReassignments, EncodeReassignments)
		check(t, data, DecodeISRChange, EncodeISRChange)
		check(t, data, DecodeLogDirEvent, EncodeLogDirEvent)
		if len(data) > 0 {
			check(t, data, decodeClaimed, ProducerIDBlock.Encode)
		}
		check(t, data, DecodeFeature, Feature.Encode)
		check(t, data, DecodeACLs, EncodeACLs)
		check(t, data, DecodeDelegationToken, DelegationToken.Encode)
		check(t, data, DecodeConsumerOffset, EncodeConsumerOffset)
		if _, err := DecodeACLChange("/p", data); err != nil {
			named(t, err)
		}
	})
}

// named fails the test when the error does not say which znode it is about.
func named(t *testing.T, err error) {
	t.Helper()
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Path != "/p" {
		t.Fatalf("error without a path: %v", err)
	}
}

// check decodes, and if that works encodes and decodes again: the value must be the same.
func check[T any](t *testing.T, data []byte, decode func(string, []byte) (T, error), encode func(T) []byte) {
	t.Helper()
	first, err := decode("/p", data)
	if err != nil {
		named(t, err)
		return
	}
	written := encode(first)
	second, err := decode("/p", written)
	if err != nil {
		t.Fatalf("%T: cannot read what was written: %v\n%s", first, err, written)
	}
	if again := encode(second); string(again) != string(written) {
		t.Fatalf("%T: written twice:\n%s\n%s", first, written, again)
	}
}

// FuzzSanitize checks that user and client names survive the path encoding.
func FuzzSanitize(f *testing.F) {
	for _, s := range []string{"", "a b", "*", "+", "%", "ü", "CN=x,O=y", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded := Sanitize(s)
		if s != DefaultEntity && strings.ContainsAny(encoded, "/*+ \x00") {
			t.Fatalf("Sanitize(%q) = %q", s, encoded)
		}
		plain, err := Desanitize(encoded)
		if err != nil || plain != s {
			t.Fatalf("Sanitize(%q) = %q, read back %q, %v", s, encoded, plain, err)
		}
	})
}
