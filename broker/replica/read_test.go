package replica

import (
	"strings"
	"testing"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestConsumersReadBelowTheHighWatermarkAndFollowersToTheEnd(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	b.add(p, 5, AcksLeader)
	read(p, follower(2), from(5))
	b.add(p, 5, AcksLeader) // the high watermark is 5, the end 10
	for _, c := range []struct {
		name   string
		reader *Reader
		from   cluster.Offset
		code   kerr.Code
		next   cluster.Offset
	}{
		{"a consumer gets what is acknowledged", consumer(), 0, kerr.None, 5},
		{"a consumer in the middle of a batch gets the batch", consumer(), 3, kerr.None, 5},
		{"a consumer at the high watermark gets nothing", consumer(), 5, kerr.None, 5},
		{"a consumer between high watermark and end gets nothing, and no error", consumer(), 7, kerr.None, 7},
		{"a consumer at the end gets nothing", consumer(), 10, kerr.None, 10},
		{"a consumer beyond the end is out of range", consumer(), 11, kerr.OffsetOutOfRange, 11},
		{"a negative offset is out of range", consumer(), -5, kerr.OffsetOutOfRange, -5},
		{"the largest offset is out of range", consumer(), 1<<63 - 1, kerr.OffsetOutOfRange, 1<<63 - 1},
		{"a follower gets everything", follower(2), 5, kerr.None, 10},
		{"a follower beyond the end is out of range", follower(2), 11, kerr.OffsetOutOfRange, 11},
		{"a replica that is not assigned gets nothing", follower(7), 5, kerr.UnknownTopicOrPartition, 5},
	} {
		res, next := read(p, c.reader, from(c.from))
		if res.Code != c.code || next != c.next {
			t.Errorf("%s: %v up to %d, want %v up to %d", c.name, res.Code, next, c.code, c.next)
		}
		if res.Code == kerr.None && (res.HighWatermark != 5 || res.LogEnd != 10 || res.LogStart != 0 || res.LastStable != 5) {
			t.Errorf("%s: high watermark %d, end %d, start %d, stable %d", c.name, res.HighWatermark, res.LogEnd, res.LogStart, res.LastStable)
		}
	}
	if p.HighWatermark() != 5 {
		t.Errorf("reading moved the high watermark to %d", p.HighWatermark())
	}
}

func TestLeaderEpochsFenceReaders(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	p := b.lead(4, self)
	b.add(p, 1, AcksLeader)
	for epoch, want := range map[cluster.LeaderEpoch]kerr.Code{-1: kerr.None, 4: kerr.None, 3: kerr.FencedLeaderEpoch, 5: kerr.UnknownLeaderEpoch} {
		pos := from(0)
		pos.CurrentLeaderEpoch = epoch
		if res, _ := read(p, consumer(), pos); res.Code != want {
			t.Errorf("read with epoch %d: %v, want %v", epoch, res.Code, want)
		}
		if _, err := p.ListOffset(consumer(), LatestTimestamp, epoch); kerr.CodeOf(err) != want {
			t.Errorf("list with epoch %d: %v, want %v", epoch, err, want)
		}
		if _, code := p.EndOffsetForEpoch(epoch, 4); code != want {
			t.Errorf("end of epoch with epoch %d: %v, want %v", epoch, code, want)
		}
	}
}

func TestOnlyReadersOfTheNearestReplicaReadFromFollowers(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	p := b.lead(0, self, 2)
	b.add(p, 5, AcksLeader)
	b.order(b.state(2, 1, 2, self))
	if res, _ := read(p, consumer(), from(0)); res.Code != kerr.NotLeaderOrFollower {
		t.Errorf("a plain consumer: %v", res.Code)
	}
	near := consumer()
	near.Rack = "r1"
	if res, next := read(p, near, from(0)); res.Code != kerr.None || next != 0 {
		t.Errorf("a consumer of the nearest replica: %v up to %d; the watermark is 0", res.Code, next)
	}
	if res, _ := read(p, follower(2), from(0)); res.Code != kerr.NotLeaderOrFollower {
		t.Errorf("a follower: %v", res.Code)
	}
}

func TestAFollowerThatDivergesIsToldWhere(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(1, self, 2)
	b.add(p, 10, AcksLeader) // epoch 1: 0 to 9
	p = b.lead(4, self, 2)
	b.add(p, 5, AcksLeader) // epoch 4: 10 to 14
	for _, c := range []struct {
		name   string
		offset cluster.Offset
		last   cluster.LeaderEpoch
		code   kerr.Code
		want   *EpochEnd
	}{
		{"the same history", 12, 4, kerr.None, nil},
		{"all of an earlier epoch", 10, 1, kerr.None, nil},
		{"more of epoch 1 than there ever was", 12, 1, kerr.None, &EpochEnd{Epoch: 1, End: 10}},
		{"an epoch that this leader never saw", 12, 3, kerr.None, &EpochEnd{Epoch: 1, End: 10}},
		{"an epoch after all of the leader's", 12, 9, kerr.OffsetOutOfRange, nil},
		{"an epoch before all of the leader's", 5, 0, kerr.None, &EpochEnd{Epoch: 0, End: 0}},
		{"it does not say", 12, cluster.NoLeaderEpoch, kerr.None, nil},
		{"more of the same epoch than the leader has: told where, and not that its position does not exist", 40, 4, kerr.None, &EpochEnd{Epoch: 4, End: 15}},
		{"more than the leader has, and it does not say of which epoch", 40, cluster.NoLeaderEpoch, kerr.OffsetOutOfRange, nil},
	} {
		pos := from(c.offset)
		pos.LastFetchedEpoch = c.last
		res, _ := read(p, follower(2), pos)
		if res.Code != c.code {
			t.Errorf("%s: %v, want %v", c.name, res.Code, c.code)
		}
		if (res.Diverging == nil) != (c.want == nil) || res.Diverging != nil && *res.Diverging != *c.want {
			t.Errorf("%s: diverging %v, want %v", c.name, res.Diverging, c.want)
		}
	}
}

// A reader before the log's start is out of range, whatever it has read last: cutting its log, or going back, would not help it.
func TestAReaderBeforeTheStartIsOutOfRangeWhateverItHasRead(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(1, self)
	b.add(p, 10, AcksLeader) // epoch 1: 0 to 9
	p = b.lead(4, self)
	b.add(p, 5, AcksLeader) // epoch 4: 10 to 14
	if _, err := p.DeleteRecords(8); err != nil {
		t.Fatal(err)
	}
	p = b.lead(5, self, 2)
	for _, last := range []cluster.LeaderEpoch{cluster.NoLeaderEpoch, 0, 1, 3, 4} {
		for _, r := range []*Reader{consumer(), follower(2)} {
			pos := from(7)
			pos.LastFetchedEpoch = last
			if res, _ := read(p, r, pos); res.Code != kerr.OffsetOutOfRange || res.Diverging != nil || res.LogStart != 8 {
				t.Errorf("replica %d at 7 after epoch %d: %v, log start %d, diverging %v", r.Replica, last, res.Code, res.LogStart, res.Diverging)
			}
		}
	}
}

// While a follower of epoch 1 is read for, this broker loses the leadership, cuts its log at 5, and leads again in epoch 3: the records at 7 now do not
// follow what the follower has at 6.
func TestARoleThatChangesDuringAReadSpoilsIt(t *testing.T) {
	for _, c := range []struct {
		name   string
		reader *Reader
		epoch  cluster.LeaderEpoch
		want   kerr.Code
	}{
		{"a follower", follower(2), 1, kerr.FencedLeaderEpoch},
		{"a consumer that knows the epoch", consumer(), 1, kerr.FencedLeaderEpoch},
		{"a consumer that does not", consumer(), cluster.NoLeaderEpoch, kerr.None},
		{"a lookup by time", consumer(), 1, kerr.FencedLeaderEpoch},
	} {
		t.Run(c.name, func(t *testing.T) {
			var change func()
			b := startBroker(t, vfs.Inject(vfs.NewMem(), vfs.When(func(c vfs.Call) bool { return c.Op == vfs.OpRead && strings.HasSuffix(c.Path, ".log") },
				vfs.InjectorFunc(func(vfs.Call) vfs.Fault {
					if f := change; f != nil {
						change = nil
						f()
					}
					return vfs.Fault{}
				}))))
			b.alive(1, 2)
			p := b.lead(1, self, 2)
			for range 10 {
				b.add(p, 1, AcksLeader)
			}
			read(p, follower(2), from(10))
			change = func() {
				b.order(b.state(2, 2, 2, self))
				if err := p.log.Truncate(5); err != nil {
					t.Error(err)
				}
				p = b.lead(3, self, 2)
				for range 10 {
					b.add(p, 1, AcksLeader)
				}
			}
			pos := from(7)
			pos.CurrentLeaderEpoch = c.epoch
			if c.name == "a lookup by time" {
				if _, err := p.ListOffset(c.reader, 1, 1); kerr.CodeOf(err) != c.want || change != nil {
					t.Errorf("%v, want %v", err, c.want)
				}
				return
			}
			res, next := read(p, c.reader, pos)
			if change != nil {
				t.Fatal("nothing was read from the file")
			}
			if res.Code != c.want || c.want != kerr.None && next != 7 || res.Diverging != nil {
				t.Errorf("%v up to %d, diverging %v, want %v", res.Code, next, res.Diverging, c.want)
			}
			if got := p.HighWatermark(); got != 10 {
				t.Errorf("the high watermark is %d, want 10: the follower has told nothing in the new epoch", got)
			}
		})
	}
}

func TestADivergingReadReportsNothing(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(1, self, 2)
	b.add(p, 10, AcksLeader)
	pos := from(10)
	pos.LastFetchedEpoch = 0
	read(p, follower(2), pos)
	if p.HighWatermark() != 0 {
		t.Errorf("high watermark %d after the fetch of a diverging follower", p.HighWatermark())
	}
}

func TestAReadThatIsRepeatedReportsNothing(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	b.add(p, 10, AcksLeader)
	p.Read(follower(2), from(10), ReadSize{}, nil)
	if p.HighWatermark() != 0 {
		t.Errorf("high watermark %d", p.HighWatermark())
	}
	p.Read(follower(2), from(10), ReadSize{Report: true}, nil)
	if p.HighWatermark() != 10 {
		t.Errorf("high watermark %d after a report, want 10", p.HighWatermark())
	}
}

func TestAFollowerFromBeforeItsRestartIsNotBelieved(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	b.add(p, 10, AcksLeader)
	restarted, old := follower(2), follower(2)
	restarted.BrokerEpoch, old.BrokerEpoch = 60, 50
	read(p, restarted, from(3))
	read(p, old, from(10))
	if p.HighWatermark() != 3 {
		t.Errorf("high watermark %d, want 3: the replica has lost what it had before its restart", p.HighWatermark())
	}
}

func TestListOffsets(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(3, self, 2)
	for i := range 10 { // offset i has timestamp 1000 + 10 i
		if _, err := p.Append(batchOf(t, 1, int64(1000+10*i)), AcksLeader); err != nil {
			t.Fatal(err)
		}
	}
	read(p, follower(2), from(8)) // the high watermark is 8
	none := ListedOffset{-1, -1, -1}
	for _, c := range []struct {
		name      string
		reader    *Reader
		timestamp int64
		want      ListedOffset
		code      kerr.Code
	}{
		{"latest is the high watermark", consumer(), -1, ListedOffset{8, -1, 3}, kerr.None},
		{"latest for a follower is the end", follower(2), -1, ListedOffset{10, -1, 3}, kerr.None},
		{"earliest", consumer(), -2, ListedOffset{0, -1, 3}, kerr.None},
		{"earliest on local disk", consumer(), -4, ListedOffset{0, -1, 3}, kerr.None},
		{"a timestamp", consumer(), 1031, ListedOffset{4, 1040, 3}, kerr.None},
		{"the timestamp of a record", consumer(), 1030, ListedOffset{3, 1030, 3}, kerr.None},
		{"before all records", consumer(), 0, ListedOffset{0, 1000, 3}, kerr.None},
		{"above the high watermark", consumer(), 1081, none, kerr.None},
		{"above the high watermark, for a follower", follower(2), 1081, ListedOffset{9, 1090, 3}, kerr.None},
		{"after all records", follower(2), 5000, none, kerr.None},
		{"the largest timestamp, for a follower", follower(2), -3, ListedOffset{9, 1090, 3}, kerr.None},
		{"latest in tiers", consumer(), -5, none, kerr.None},
		{"nonsense", consumer(), -1 << 63, none, kerr.InvalidRequest},
	} {
		got, err := p.ListOffset(c.reader, c.timestamp, cluster.NoLeaderEpoch)
		if got != c.want || kerr.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, got, err, c.want, c.code)
		}
	}
}

func TestANewLeaderDoesNotKnowTheLatestOffsetYet(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	b.add(p, 2, AcksLeader)
	b.add(p, 3, AcksLeader)
	read(p, follower(2), from(2)) // the high watermark is 2
	p = b.lead(1, self, 2)        // the epoch starts at 5
	for _, timestamp := range []int64{LatestTimestamp, 1 << 60} {
		if _, err := p.ListOffset(consumer(), timestamp, -1); kerr.CodeOf(err) != kerr.OffsetNotAvailable {
			t.Errorf("timestamp %d: %v, want OFFSET_NOT_AVAILABLE", timestamp, err)
		}
	}
	if got, err := p.ListOffset(consumer(), EarliestTimestamp, -1); err != nil || got.Offset != 0 {
		t.Errorf("earliest: %v, %v", got, err)
	}
	if got, err := p.ListOffset(follower(2), LatestTimestamp, -1); err != nil || got.Offset != 5 {
		t.Errorf("latest for a follower: %v, %v", got, err)
	}
	if res, next := read(p, consumer(), from(0)); res.Code != kerr.None || next != 2 {
		t.Errorf("a consumer below the watermark: %v up to %d", res.Code, next)
	}
	read(p, follower(2), from(5))
	if got, err := p.ListOffset(consumer(), LatestTimestamp, -1); err != nil || got.Offset != 5 {
		t.Errorf("after the follower has caught up: %v, %v", got, err)
	}
}

func TestEndsOfEpochs(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	p := b.lead(1, self)
	b.add(p, 10, AcksLeader)
	p = b.lead(4, self)
	b.add(p, 5, AcksLeader)
	undefined := EpochEnd{Epoch: -1, End: -1}
	for asked, want := range map[cluster.LeaderEpoch]EpochEnd{
		-1: undefined, 0: {Epoch: 0, End: 0}, 1: {Epoch: 1, End: 10}, 2: {Epoch: 1, End: 10}, 3: {Epoch: 1, End: 10}, 4: {Epoch: 4, End: 15}, 5: undefined, 1<<31 - 1: undefined, -1 << 31: undefined,
	} {
		if got, code := p.EndOffsetForEpoch(-1, asked); got != want || code != kerr.None {
			t.Errorf("epoch %d: %v, %v; want %v", asked, got, code, want)
		}
	}
}
