package contact

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
)

// refusing is a line to a broker without process.
type refusing struct{}

func (refusing) Ping(context.Context, Report) error { return ErrRefused }

func (refusing) Broken(ctx context.Context) { <-ctx.Done() }

func (refusing) Close() {}

// registered is an update of the metadata that says who is registered.
func registered(ids ...cluster.BrokerID) metadata.Update {
	var u metadata.Update
	for _, id := range ids {
		u.Brokers = append(u.Brokers, metadata.Broker{ID: id})
	}
	return u
}

// TestWhoIsNotRegisteredAnyMoreIsNotLost: it is told, so that nobody goes on suspecting the process that registers next.
func TestWhoIsNotRegisteredAnyMoreIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := metadata.NewCache()
		cache.Apply(registered(0, 1))
		views := make(chan *View, 100)
		w := New(Config{
			Self: 0, Metadata: cache, Open: func(cluster.BrokerID) Line { return refusing{} },
			Interval: 200 * time.Millisecond, Patience: 1600 * time.Millisecond, HoldDown: time.Minute, Changed: func(v *View) { views <- v },
		})
		defer w.Close()
		for v := range views {
			if v.Own[1] == Refused {
				break
			}
		}
		cache.Apply(registered(0))
		limit := time.After(Repeat)
		for {
			select {
			case v := <-views:
				if len(v.Own) == 0 && len(v.Brokers) == 1 {
					return
				}
			case <-limit:
				t.Fatal("nobody was told that broker 1 is lost no more")
			}
		}
	})
}
