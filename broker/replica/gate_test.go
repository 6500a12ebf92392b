package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/kerr"
)

func TestTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		<-g.drained()
		if !g.idle() {
			t.Error("somebody is inside from the start")
		}
		g.enter()
		if !g.tryEnter() || g.idle() || g.close() || g.close() {
			t.Error("two are inside an open gate, which then is closed")
		}
		drained := g.drained()
		passed := make(chan struct{})
		go func() { g.enter(); close(passed) }()
		synctest.Wait()
		select {
		case <-passed:
			t.Error("somebody passes a closed gate")
		case <-drained:
			t.Error("two are inside")
		default:
		}
		if g.tryEnter() {
			t.Error("somebody passes a closed gate")
		}
		g.leave()
		g.leave()
		<-drained
		if !g.idle() || !g.close() {
			t.Error("nobody is inside")
		}
		g.open()
		g.open()
		<-passed
		g.leave()
	})
}

// heldUp is a broker whose disk lets everything that is written wait for 40 s while the switch is on.
func heldUp(t *testing.T) (*broker, *vfs.Toggle) {
	t.Helper()
	slow := &vfs.Toggle{Inner: vfs.OnOps(vfs.Latency(40*time.Second), vfs.OpWrite)}
	b := startBroker(t, vfs.Inject(vfs.NewMem(), slow))
	b.alive(1, 2)
	return b, slow
}

// stuck begins an append that hangs until the disk works.
func stuck(t *testing.T, p *Partition, slow *vfs.Toggle, acks Acks) (outcome chan error) {
	t.Helper()
	outcome = make(chan error, 1)
	slow.Set(true)
	go func() { _, err := p.Append(batchOf(t, 3, 1000), acks); outcome <- err }()
	synctest.Wait()
	slow.Set(false)
	return outcome
}

// TestOrdersDoNotWaitForADiskThatStalls gives the leadership of a partition away, and back, while an append to it hangs. The orders are answered at once; the
// append counts for nothing, whatever acks its producer wanted; and the next leadership begins behind it.
func TestOrdersDoNotWaitForADiskThatStalls(t *testing.T) {
	for _, acks := range []Acks{AcksLeader, AcksAll} {
		synctest.Test(t, func(t *testing.T) {
			b, slow := heldUp(t)
			defer b.stop()
			p := b.lead(0, self, 2)
			waiting := b.add(p, 2, AcksAll)
			late := stuck(t, p, slow, acks)
			start := time.Now()
			if code := b.order(b.state(2, 1, self, 2)); code != kerr.None {
				t.Fatal(code)
			}
			if code, known := waiting.Wait.Outcome(); !known || code != kerr.NotLeaderOrFollower {
				t.Errorf("what waits for the watermark is told %v, %v", code, known)
			}
			if _, err := p.Append(batchOf(t, 1, 1000), AcksLeader); kerr.CodeOf(err) != kerr.NotLeaderOrFollower {
				t.Errorf("an append to a follower: %v", err)
			}
			if b.lead(2, self, 2); p.Leads() {
				t.Error("it leads while an append of an earlier epoch is under way")
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("the orders took %v", d)
			}
			if err := <-late; kerr.CodeOf(err) != kerr.NotLeaderOrFollower {
				t.Errorf("the append that hung: %v", err)
			}
			synctest.Wait()
			if !p.Leads() || p.LeaderEpoch() != 2 {
				t.Fatal("it does not lead when the append has ended")
			}
			if entries := p.log.EpochEntries(); entries[len(entries)-1].Epoch != 2 || entries[len(entries)-1].StartOffset != 5 {
				t.Errorf("the epochs are %v", entries)
			}
		})
	}
}

// TestALaterOrderWinsOverOneThatWaits tells a partition to lead in another epoch while an append hangs, and then to follow.
func TestALaterOrderWinsOverOneThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, slow := heldUp(t)
		defer b.stop()
		p := b.lead(0, self, 2)
		late := stuck(t, p, slow, AcksLeader)
		b.lead(1, self, 2)
		outcome := make(chan error)
		go func() { _, err := p.Append(batchOf(t, 3, 1000), AcksLeader); outcome <- err }()
		synctest.Wait()
		if code := b.order(b.state(2, 2, self, 2)); code != kerr.None {
			t.Fatal(code)
		}
		if err := <-outcome; kerr.CodeOf(err) != kerr.NotLeaderOrFollower {
			t.Errorf("an append that waited until the leadership began: %v", err)
		}
		<-late
		synctest.Wait()
		if p.Leads() || p.LeaderEpoch() != 2 {
			t.Error("it goes by an order that is out of date")
		}
	})
}
