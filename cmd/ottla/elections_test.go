package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestElectionFlagsAreCheckedTogether(t *testing.T) {
	const one = "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file"
	for _, c := range []struct{ line, want string }{
		{"--all-topic-partitions", "Missing required option(s): bootstrap-server, election-type"},
		{"--bootstrap-server b:1 --all-topic-partitions", "Missing required option(s): election-type"},
		{"--bootstrap-server b:1 --election-type preferred", one},
		{"--bootstrap-server b:1 --election-type preferred --topic t --partition 1 --all-topic-partitions", one},
		{"--bootstrap-server b:1 --election-type preferred --topic t", "Missing required option(s): partition"},
		{"--bootstrap-server b:1 --election-type preferred --all-topic-partitions --partition 1", "Option partition is only allowed if topic is used"},
		{"--bootstrap-server b:1 --election-type preferred --topic t --partition 1 --admin.config f", ""},
		{"--bootstrap-server b:1 --election-type unclean --path-to-json-file f", ""},
	} {
		f := newElectionFlags()
		if err := f.set.Parse(strings.Fields(c.line)); err != nil {
			t.Errorf("%s: %v", c.line, err)
		} else if got := errorText(f.check()); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestFilesOfPartitionsAreJudged(t *testing.T) {
	for file, want := range map[string]string{
		"":                               "Data is empty: unexpected end of JSON input",
		"{}":                             `Data is missing "partitions" field`,
		`{"partitions":[{"topic":"t"}]}`: "Data: each of the partitions needs the fields topic and partition",
		`{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":2},{"topic":"t","partition":1}]}`: "Data contains duplicate partitions: [t-1]",
		`{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":0}],"version":1}`:                 "",
	} {
		tps, err := parseElections([]byte(file), "Data")
		if errorText(err) != want || err == nil && (len(tps) != 2 || tps[0].Partition != 1) {
			t.Errorf("%s: %v %v, want %s", file, tps, err, want)
		}
	}
	if tps, err := parseElections([]byte(`{"partitions":[]}`), "Data"); tps == nil || err != nil {
		t.Errorf("no partitions are all partitions: %v %v", tps, err) // nil would be all
	}
}

func TestElectionsArePrinted(t *testing.T) {
	tp := func(p int32) cluster.TopicPartition { return cluster.TopicPartition{Topic: "t", Partition: p} }
	outcomes := map[cluster.TopicPartition]error{
		tp(1): nil, tp(0): nil, tp(2): kerr.ElectionNotNeeded.Err(), tp(3): kerr.PreferredLeaderNotAvailable.With("Broker 3 is down."), tp(4): kerr.UnknownTopicOrPartition.Err(),
	}
	var out bytes.Buffer
	words := electionWords{"done (%[1]s): %[2]s", "needless: %s", "failed (%[1]s): %[2]s: %[3]s", "%d failed"}
	err := printElections(admin.UncleanElection, outcomes, words, streams{out: &out})
	want := "done (UNCLEAN): t-0, t-1\nneedless: t-2\n" +
		"failed (UNCLEAN): t-3: org.apache.kafka.common.errors.PreferredLeaderNotAvailableException: Broker 3 is down.\n" +
		"failed (UNCLEAN): t-4: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does not host this topic-partition.\n"
	if diff := cmp.Diff(want, out.String()); diff != "" || errorText(err) != "2 failed" {
		t.Errorf("%v %s", err, diff)
	}
	out.Reset()
	if err := printElections(admin.PreferredElection, nil, words, streams{out: &out}); err != nil || out.Len() > 0 {
		t.Errorf("%v %s", err, out.String())
	}
}

func TestExceptionsAreNamedAsInJava(t *testing.T) {
	for code, want := range map[kerr.Code]string{
		kerr.NotController: "NotControllerException", kerr.RequestTimedOut: "TimeoutException", kerr.KafkaStorageError: "KafkaStorageException",
		kerr.InvalidTopicException: "InvalidTopicException", kerr.ClusterAuthorizationFailed: "ClusterAuthorizationException", kerr.UnknownServerError: "UnknownServerException",
		kerr.MessageTooLarge: "RecordTooLargeException", kerr.NotLeaderOrFollower: "NotLeaderOrFollowerException", kerr.SASLAuthenticationFailed: "SaslAuthenticationException",
	} {
		if got := exceptionClass(code); got != "org.apache.kafka.common.errors."+want {
			t.Errorf("%s: %s", code, got)
		}
	}
}
