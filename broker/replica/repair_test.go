package replica

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

// damage spoils the first batch of orders-0 on disk and returns what was there.
func damage(t *testing.T, fs vfs.FS) []byte {
	t.Helper()
	name := "/logs/" + orders0.String() + "/00000000000000000000.log"
	data, err := vfs.ReadFile(fs, name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt([]byte{0xaa}, 70)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// asked waits until the other broker is asked for what is missing.
func (s *stage) asked() exchange {
	s.t.Helper()
	for {
		if x := s.next(); x.req.AsConsumer {
			return x
		}
	}
}

// records are what a log holds that play has prepared. Brokers 2 and 3 have it as well.
func records(b *broker) {
	b.cache.Apply(metadata.Update{Brokers: []metadata.Broker{{ID: 1}, {ID: 2}, {ID: 3}}, Partitions: []metadata.PartitionUpdate{
		{TopicPartition: orders0, TopicID: b.id, Partition: metadata.Partition{Leader: 2, LeaderEpoch: 5, ISR: ids(1, 2, 3), Replicas: ids(1, 2, 3)}},
	}})
	p := b.lead(4, self)
	for range 3 {
		b.add(p, 2, AcksAll)
	}
}

func TestWhatIsDamagedIsTakenFromAnotherReplica(t *testing.T) {
	play(t, records, func(s *stage) {
		good := damage(t, s.b.fs)
		nearest := consumer()
		nearest.Rack = "a"
		s.m.Damaged(orders0, 0)
		if res, _ := read(s.p, nearest, from(0)); res.Code != kerr.KafkaStorageError {
			t.Errorf("while it is repaired a read is answered with %v", res.Code)
		}
		x := s.asked()
		want := s.p.LogEndOffset()
		if f := x.req.Set[0]; f.Offset != 0 || f.CurrentLeaderEpoch != 5 || f.LogStart != cluster.UnknownOffset || len(x.req.Set) != 1 {
			t.Errorf("asked for %+v", x.req.Set)
		}
		x.answer <- &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: orders0.Topic, Partitions: []wire.FetchPartition{{Records: good}}}}}
		synctest.Wait()
		if res, next := read(s.p, nearest, from(0)); res.Code != kerr.None || next != want {
			t.Errorf("repaired, it is answered with %v up to %d", res.Code, next)
		}
		if !s.p.follows(5) {
			t.Error("its role has changed")
		}
	})
}

func TestWhatNobodyHasIsSaidToBeDamaged(t *testing.T) {
	play(t, records, func(s *stage) {
		good := damage(t, s.b.fs)
		nearest := consumer()
		nearest.Rack = "a"
		s.m.Damaged(orders0, 0)
		for range patience {
			x := s.asked()
			x.answer <- errors.New("no way")
			x = s.asked()
			x.answer <- &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: orders0.Topic, Partitions: []wire.FetchPartition{{ErrorCode: kerr.KafkaStorageError}}}}}
		}
		synctest.Wait()
		if res, _ := read(s.p, nearest, from(0)); res.Code != kerr.CorruptMessage {
			t.Errorf("after %d attempts a read is answered with %v", patience, res.Code)
		}
		s.asked().answer <- &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: orders0.Topic, Partitions: []wire.FetchPartition{{Records: good}}}}}
		synctest.Wait()
		if res, _ := read(s.p, nearest, from(0)); res.Code != kerr.None {
			t.Errorf("repaired, it is answered with %v", res.Code)
		}
	})
}

// TestARepairEndsWithItsLog deletes a log while another broker that is asked for what is missing does not answer.
func TestARepairEndsWithItsLog(t *testing.T) {
	play(t, records, func(s *stage) {
		damage(t, s.b.fs)
		s.m.Damaged(orders0, 0)
		s.asked()
		begun := time.Now()
		code, outcomes := s.m.ApplyStopReplica(StopReplica{s.b.sender, []StopPartition{{TopicPartition: orders0, LeaderEpoch: cluster.LeaderEpochDeleting, Delete: true}}})
		if code != kerr.None || outcomes[0].Code != kerr.None || time.Since(begun) > time.Second {
			t.Errorf("%v, %v after %v", code, outcomes, time.Since(begun))
		}
		if len(s.b.logs.Logs()) > 0 {
			t.Error("the log is still there")
		}
	})
}
