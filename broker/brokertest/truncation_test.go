package brokertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/proto/cluster"
)

// TestConsumersLearnOfAnUncleanElection reads records that an unclean election then takes back. The consumer with a reset policy goes on where the logs
// part, and the one without is told where that is: nobody reads on in another history as if nothing had happened (KIP-320).
func TestConsumersLearnOfAnUncleanElection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}, 1, 2)
		o := observe(t, c)
		open := func(reset consumer.Reset) *consumer.Consumer {
			r, err := consumer.New(cl, consumer.OffsetReset(reset))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close(t.Context()) })
			_ = r.Assign(events)
			if err := r.SeekToBeginning(); err != nil {
				t.Fatal(err)
			}
			return r
		}
		latest, none := open(consumer.ResetLatest), open(consumer.ResetNone)
		take := func(r *consumer.Consumer, n int) (got []string, err error) {
			for rec, err := range r.Records(t.Context()) {
				if err != nil {
					return got, err
				}
				if got = append(got, string(rec.Value)); len(got) == n {
					break
				}
			}
			return got, nil
		}
		acked(t, cl, "a", 10)
		<-time.After(time.Second)
		c.Kill(t, 2)
		o.awaitISR(events, 1)
		acked(t, cl, "b", 20)
		for _, r := range []*consumer.Consumer{latest, none} {
			got, err := take(r, 30)
			if err != nil && !errors.As(err, new(*consumer.TruncationError)) {
				got, err = take(r, 30) // without a policy the assignment itself is an error, until the seek
			}
			if err != nil {
				t.Fatal(err)
			}
			wantRecords(t, got, slices.Concat(numbered("a", 10), numbered("b", 20))...)
		}
		c.Kill(t, 1)
		for o.state(events).Leader != cluster.NoBroker {
			<-time.After(time.Second)
		}
		c.Restart(t, 2)
		for o.state(events).Leader != 2 {
			<-time.After(time.Second)
		}
		acked(t, cl, "c", 40) // more than was lost: every position exists again
		got, err := take(latest, 40)
		if err != nil {
			t.Fatal(err)
		}
		wantRecords(t, got, numbered("c", 40)...)
		var cut *consumer.TruncationError
		if _, err := take(none, 1); !errors.As(err, &cut) || cut.Divergent != 10 || cut.Position != 30 {
			t.Fatalf("without a policy: %v", err)
		}
		if err := none.Seek(events, cut.Divergent); err != nil {
			t.Fatal(err)
		}
		if got, err = take(none, 40); err != nil {
			t.Fatal(err)
		}
		wantRecords(t, got, numbered("c", 40)...)
	})
}
