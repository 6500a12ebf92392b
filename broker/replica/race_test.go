package replica

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Producers, a follower, a consumer and a controller that moves the leadership to and fro, all at once. What must hold at any time: the high
// watermark stays within the log, never falls while the broker leads, consumers see nothing above it, and what was
// acknowledged lies below it.
func TestEverybodyAtOnce(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	rounds := 200
	if testing.Short() {
		rounds = 100
	}
	var producers, others sync.WaitGroup
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	for range 3 {
		producers.Add(1)
		go func() {
			defer producers.Done()
			signal := NewSignal()
			for range rounds {
				a, err := p.Append(batchOf(t, 2, 1000), AcksAll)
				if code := kerr.CodeOf(err); code == kerr.NotLeaderOrFollower {
					continue
				} else if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				code, err := a.Wait.Await(t.Context(), signal, time.After(10*time.Second))
				if err != nil || code != kerr.None && code != kerr.NotLeaderOrFollower {
					t.Errorf("wait: %v, %v", code, err)
					return
				}
				if hw := p.HighWatermark(); code == kerr.None && hw <= a.Info.LastOffset {
					t.Errorf("offset %d was acknowledged with high watermark %d", a.Info.LastOffset, hw)
				}
			}
		}()
	}
	others.Add(3)
	go func() { // the follower
		defer others.Done()
		next := cluster.Offset(0)
		for !stopped() {
			_, next = read(p, follower(2), from(next))
			runtime.Gosched()
		}
	}()
	go func() { // the consumer
		defer others.Done()
		at, seen := cluster.Offset(0), cluster.Offset(0)
		for !stopped() {
			res, next := read(p, consumer(), from(at))
			runtime.Gosched()
			if res.Code != kerr.None {
				continue
			}
			if res.HighWatermark < seen || res.HighWatermark > res.LogEnd || next > max(res.HighWatermark, at) {
				t.Errorf("read up to %d, high watermark %d after %d, end %d", next, res.HighWatermark, seen, res.LogEnd)
				return
			}
			at, seen = next, res.HighWatermark
		}
	}()
	go func() { // the controller
		defer others.Done()
		for epoch := cluster.LeaderEpoch(1); !stopped(); epoch++ {
			leader := self
			if epoch%3 == 1 {
				leader = 2
			}
			b.order(b.state(leader, epoch, self, 2))
			end := p.LogEndOffset()
			for range 200 { // some time for the others
				if p.LogEndOffset() > end+20 {
					break
				}
				runtime.Gosched()
			}
		}
	}()
	producers.Wait()
	close(stop)
	others.Wait()
	if n := p.Watchers(); n != 0 {
		t.Errorf("%d signals are still registered", n)
	}
}
