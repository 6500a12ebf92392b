package dump_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/broker/commitlog/dump"
	"github.com/ottla/ottla/proto/record"
)

func ptr[T any](v T) *T { return &v }

func TestOffsets(t *testing.T) {
	key := kmsg.OffsetCommitKey{Version: 1, Group: "g\"1", Topic: "t", Partition: 3}
	old := kmsg.OffsetCommitKey{Version: 0, Group: "g", Topic: "t", Partition: 3}
	value := func(version int16) []byte {
		v := kmsg.OffsetCommitValue{Version: version, Offset: 42, LeaderEpoch: 5, Metadata: "m\n\u00e9", CommitTimestamp: 99, ExpireTimestamp: 100}
		return v.AppendTo(nil)
	}
	const whole = `{"type":"1","data":{"group":"g\"1","topic":"t","partition":3}}`
	for name, c := range map[string]struct {
		key, value        []byte
		wantKey, wantText string
	}{
		"v0":        {old.AppendTo(nil), value(0), `{"type":"0","data":{"group":"g","topic":"t","partition":3}}`, `{"version":"0","data":{"offset":42,"metadata":"m\né","commitTimestamp":99}}`},
		"v1":        {key.AppendTo(nil), value(1), whole, `{"version":"1","data":{"offset":42,"metadata":"m\né","commitTimestamp":99,"expireTimestamp":100}}`},
		"v2":        {key.AppendTo(nil), value(2), whole, `{"version":"2","data":{"offset":42,"metadata":"m\né","commitTimestamp":99}}`},
		"v3":        {key.AppendTo(nil), value(3), whole, `{"version":"3","data":{"offset":42,"leaderEpoch":5,"metadata":"m\né","commitTimestamp":99}}`},
		"tombstone": {key.AppendTo(nil), nil, whole, `<DELETE>`},
		"newer":     {[]byte{0, 77}, value(3), `Unknown record type 77 at offset 6, skipping.`, ``},
		"torn":      {key.AppendTo(nil), value(3)[:9], `Error at offset 6, skipping. 8 bytes are wanted, 7 are left`, ``},
		"future":    {key.AppendTo(nil), []byte{0, 9}, `Error at offset 6, skipping. the value has the version 9, the last one that is known is 4`, ``},
		"no key":    {[]byte{}, nil, `Error at offset 6, skipping. 2 bytes are wanted, 0 are left`, ``},
	} {
		got, err := dump.Offsets(&record.Record{Offset: 6, Key: c.key, Value: c.value})
		want := dump.Text{Key: c.wantKey, Payload: c.wantText, HasKey: true, HasPayload: c.wantText != ""}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	if _, err := dump.Offsets(&record.Record{Offset: 6}); err == nil || err.Error() != "Failed to decode message at offset 6 using offset topic decoder (message had a missing key)" {
		t.Errorf("null key: %v", err)
	}
}

func TestGroups(t *testing.T) {
	key := kmsg.GroupMetadataKey{Version: 2, Group: "g"}
	meta := kmsg.ConsumerMemberMetadata{
		Version: 3, Topics: []string{"a", "b"}, UserData: []byte{1, 2}, Generation: 7, Rack: ptr("r1"),
		OwnedPartitions: []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a", Partitions: []int32{0, 1}}},
	}
	assigned := kmsg.ConsumerMemberAssignment{Version: 1, Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: "a", Partitions: []int32{2}}, {Topic: "b"}}}
	value := func(version int16, protocolType string) []byte {
		v := kmsg.GroupMetadataValue{
			Version: version, ProtocolType: protocolType, Generation: 4, Protocol: ptr("range"), CurrentStateTimestamp: 12,
			Members: []kmsg.GroupMetadataValueMember{
				{MemberID: "m1", InstanceID: ptr("i"), ClientID: "c", ClientHost: "/10.0.0.1", RebalanceTimeoutMillis: 3, SessionTimeoutMillis: 2, Subscription: meta.AppendTo(nil), Assignment: assigned.AppendTo(nil)},
				{MemberID: "m2", ClientID: "c", ClientHost: "/10.0.0.2", Subscription: []byte{0}, Assignment: []byte{}},
			},
		}
		return v.AppendTo(nil)
	}
	const consumerMembers = `"subscription":{"topics":["a","b"],"userData":"AQI=","ownedPartitions":[{"topic":"a","partitions":[0,1]}],"generationId":7,"rackId":"r1"},` +
		`"assignment":{"assignedPartitions":[{"topic":"a","partitions":[2]},{"topic":"b","partitions":[]}],"userData":null}}`
	for name, c := range map[string]struct {
		value []byte
		want  string
	}{
		"v3": {value(3, "consumer"), `{"version":"3","data":{"protocolType":"consumer","generation":4,"protocol":"range","leader":null,"currentStateTimestamp":12,"members":[` +
			`{"memberId":"m1","groupInstanceId":"i","clientId":"c","clientHost":"/10.0.0.1","rebalanceTimeout":3,"sessionTimeout":2,` + consumerMembers + `,` +
			`{"memberId":"m2","groupInstanceId":null,"clientId":"c","clientHost":"/10.0.0.2","rebalanceTimeout":0,"sessionTimeout":0,"subscription":"AA==","assignment":""}]}}`},
		"v0": {value(0, "consumer"), `{"version":"0","data":{"protocolType":"consumer","generation":4,"protocol":"range","leader":null,"members":[` +
			`{"memberId":"m1","clientId":"c","clientHost":"/10.0.0.1","sessionTimeout":2,` + consumerMembers + `,` +
			`{"memberId":"m2","clientId":"c","clientHost":"/10.0.0.2","sessionTimeout":0,"subscription":"AA==","assignment":""}]}}`},
		"tombstone": {nil, `<DELETE>`},
	} {
		got, err := dump.Offsets(&record.Record{Key: key.AppendTo(nil), Value: c.value})
		if diff := cmp.Diff(dump.Text{Key: `{"type":"2","data":{"group":"g"}}`, Payload: c.want, HasKey: true, HasPayload: true}, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	got, _ := dump.Offsets(&record.Record{Key: key.AppendTo(nil), Value: value(4, "connect")})
	if want := `{"version":"4","data":{"protocolType":"connect","generation":4,"protocol":"range","leader":null,"currentStateTimestamp":12,"members":[{"memberId":"m1",`; len(got.Payload) < len(want) || got.Payload[:len(want)] != want {
		t.Errorf("a flexible version: %+v", got)
	}
}

func TestTransactions(t *testing.T) {
	key := kmsg.TxnMetadataKey{Version: 0, TransactionalID: "tx"}
	value := func(version int16, state kmsg.TransactionState, topics ...kmsg.TxnMetadataValueTopic) []byte {
		v := kmsg.TxnMetadataValue{
			Version: version, ProducerID: 9, ProducerEpoch: 3, TimeoutMillis: 60000, State: state, Topics: topics, LastUpdateTimestamp: 5, StartTimestamp: 4,
			PreviousProducerID: 8, NextProducerID: -1, NextProducerEpoch: -1,
		}
		return v.AppendTo(nil)
	}
	two := []kmsg.TxnMetadataValueTopic{{Topic: "a", Partitions: []int32{0, 2}}, {Topic: "b", Partitions: []int32{1}}}
	const k = "transaction_metadata::transactionalId=tx"
	for name, c := range map[string]struct {
		key, value        []byte
		wantKey, wantText string
	}{
		"ongoing":   {key.AppendTo(nil), value(0, 1, two...), k, "producerId:9,producerEpoch:3,state=Ongoing,partitions=[a-0,a-2,b-1],txnLastUpdateTimestamp=5,txnTimeoutMs=60000"},
		"empty":     {key.AppendTo(nil), value(0, 0), k, "producerId:9,producerEpoch:3,state=Empty,partitions=[],txnLastUpdateTimestamp=5,txnTimeoutMs=60000"},
		"flexible":  {key.AppendTo(nil), value(1, 4, two...), k, "producerId:9,producerEpoch:3,state=CompleteCommit,partitions=[a-0,a-2,b-1],txnLastUpdateTimestamp=5,txnTimeoutMs=60000"},
		"tombstone": {key.AppendTo(nil), nil, k, "<DELETE>"},
		"state":     {key.AppendTo(nil), value(0, 33), "Error at offset 6, skipping. Unknown transaction state id 33 from the transaction status message", ""},
		"version":   {key.AppendTo(nil), []byte{0, 5}, "Error at offset 6, skipping. Unknown version 5 from the transaction log message value", ""},
		"newer":     {[]byte{0, 4}, nil, "unknown::version=4", ""},
		"torn":      {[]byte{0, 0, 0, 9}, nil, "Error at offset 6, skipping. 9 bytes are wanted, 0 are left", ""},
	} {
		got, err := dump.Transactions(&record.Record{Offset: 6, Key: c.key, Value: c.value})
		want := dump.Text{Key: c.wantKey, Payload: c.wantText, HasKey: true, HasPayload: c.wantText != ""}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}
