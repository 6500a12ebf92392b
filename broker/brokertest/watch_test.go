package brokertest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/brokertest/history"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// watchStates follows what ZooKeeper says about partitions and the controller until the end of the test: epochs never go back, there is one leader and
// one controller in an epoch, leaders are in sync, and who is in sync is a replica.
func watchStates(t *testing.T, c *Cluster) {
	t.Helper()
	cl, err := zk.Open(t.Context(), zk.Config{Connect: zookeeperAddr, Dial: zkDialer(c.Network().Dialer("watcher"))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &stateWatch{made: map[string]int64{}}
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			w.session(ctx, cl.Session())
			select {
			case <-time.After(time.Second): // until there may be another session
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
		if err := cl.Close(context.Background()); err != nil {
			t.Error(err)
		}
		found, leaders, controllers := w.seen.Check()
		for _, a := range found {
			t.Error(a)
		}
		if leaders == 0 || controllers == 0 {
			t.Errorf("ZooKeeper was seen to tell of %d leaders and %d controllers", leaders, controllers)
		}
	})
}

// stateWatch is what one goroutine has seen.
type stateWatch struct {
	seen history.Cluster
	made map[string]int64 // the transaction that made each topic
}

// session reads everything whenever something has changed, until the session is over or does not answer.
func (w *stateWatch) session(ctx context.Context, s *zk.Session) {
	watcher := s.Watch()
	defer watcher.Close()
	for {
		if err := w.read(ctx, watcher); err != nil {
			return
		}
		if _, err := watcher.Next(ctx); err != nil {
			return
		}
		watcher.Take()
	}
}

func (w *stateWatch) read(ctx context.Context, s *zk.Watcher) error {
	if err := w.readController(ctx, s); err != nil {
		return err
	}
	topics, _, err := s.Children(ctx, znode.BrokerTopics)
	if err != nil {
		return err
	}
	for _, name := range topics {
		if err := w.readTopic(ctx, s, name); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
	}
	return nil
}

// readController looks at the epoch before and after.
func (w *stateWatch) readController(ctx context.Context, s *zk.Watcher) error {
	before, _, err := s.Get(ctx, znode.ControllerEpochPath)
	if err != nil {
		return err
	}
	id := cluster.NoBroker
	if _, ok, err := s.Exists(ctx, znode.ControllerPath); err != nil {
		return err
	} else if ok {
		data, _, err := s.Get(ctx, znode.ControllerPath)
		if err != nil {
			return err
		}
		c, err := znode.DecodeController(znode.ControllerPath, data)
		if err != nil {
			return err
		}
		id = c.Broker
	}
	after, _, err := s.Get(ctx, znode.ControllerEpochPath)
	if err != nil || string(before) != string(after) {
		return err // it changes just now: there is an event for that
	}
	epoch, err := znode.DecodeControllerEpoch(znode.ControllerEpochPath, after)
	if err != nil {
		return err
	}
	w.seen.Controller(id, epoch)
	return nil
}

func (w *stateWatch) readTopic(ctx context.Context, s *zk.Watcher, name string) error {
	data, stat, err := s.Get(ctx, znode.TopicPath(name))
	if err != nil {
		return err
	}
	topic, err := znode.DecodeTopic(znode.TopicPath(name), data)
	if err != nil {
		return err
	}
	if w.made[name] != stat.Czxid {
		w.seen.Deleted(name)
		w.made[name] = stat.Czxid
	}
	for p := range topic.Replicas {
		tp := cluster.TopicPartition{Topic: name, Partition: p}
		node := znode.PartitionStatePath(tp)
		if _, ok, err := s.Exists(ctx, node); err != nil || !ok {
			return err // there is an event when it is made
		}
		data, _, err := s.Get(ctx, node)
		if err != nil {
			return err
		}
		st, err := znode.DecodePartitionState(node, data)
		if err != nil {
			return err
		}
		if _, after, err := s.Get(ctx, znode.TopicPath(name)); err != nil || after.Version != stat.Version {
			return err // the replicas change just now: there is an event for that
		}
		w.seen.Partition(tp, history.State{Leader: st.Leader, LeaderEpoch: st.LeaderEpoch, ControllerEpoch: st.ControllerEpoch, ISR: st.ISR}, topic.Replicas[p]...)
	}
	return nil
}

// reader is a consumer that reads the partition events-0 along with its producer, and a client that asks every 100 ms where it ends.
type reader struct {
	t        *testing.T
	position atomic.Int64 // behind the last record that it got
	news     chan struct{}
	stop     func()
}

func startReader(t *testing.T, cl *client.Client, h *history.History) *reader {
	t.Helper()
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Assign(events); err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		got := h.Reader("the live consumer")
		for rec, err := range c.Records(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("the live consumer: %v", err)
				}
				continue
			}
			got.Got(events, rec.Offset, string(rec.Value))
			r.position.Store(int64(rec.Offset) + 1)
			select {
			case r.news <- struct{}{}:
			default:
			}
		}
		_ = c.Close(context.Background())
	})
	reading.Go(func() {
		for ctx.Err() == nil {
			ends, err := cl.ListOffsets(ctx, client.ReadUncommitted, map[cluster.TopicPartition]int64{events: client.Latest})
			if end := ends[events]; err == nil && end.Err == nil {
				h.End(events, end.Offset, end.LeaderEpoch)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	r.stop = sync.OnceFunc(func() {
		cancel()
		reading.Wait()
	})
	t.Cleanup(r.stop)
	return r
}

// stopAt waits until the consumer has everything below an offset, and ends both.
func (r *reader) stopAt(end cluster.Offset) {
	r.t.Helper()
	defer r.stop()
	tooLate := time.After(time.Minute)
	for r.position.Load() < int64(end) {
		select {
		case <-r.news:
		case <-tooLate:
			r.t.Errorf("the live consumer has got to %d, and the partition ends at %d", r.position.Load(), end)
			return
		}
	}
}
