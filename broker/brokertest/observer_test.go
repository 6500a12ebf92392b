package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/brokertest/history"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

var events = cluster.TopicPartition{Topic: "events"}

// observer looks at a cluster through ZooKeeper.
type observer struct {
	t *testing.T
	s *zk.Session
}

// observe returns an observer. Until the end of the test it also watches what ZooKeeper says, and fails the test if that is impossible.
func observe(t *testing.T, c *Cluster) *observer {
	t.Helper()
	watchStates(t, c)
	return &observer{t, look(t, c)}
}

// testLogger logs to the standard error if the environment asks for it.
func testLogger(t *testing.T) hclog.Logger {
	t.Helper()
	if os.Getenv("OTTLA_TEST_LOG") == "" {
		return nil
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(os.Getenv("OTTLA_TEST_LOG")), Output: os.Stderr})
}

// replicated creates the topic events with one partition on the given brokers, the first of them leading.
func replicated(t *testing.T, cl *client.Client, configs map[string]string, replicas ...cluster.BrokerID) {
	t.Helper()
	res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{
		Name: events.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: replicas}, Configs: configs,
	}}, admin.CreateOptions{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
}

// state reads the partition's state from ZooKeeper.
func (o *observer) state(tp cluster.TopicPartition) znode.PartitionState {
	o.t.Helper()
	node := znode.PartitionStatePath(tp)
	data, _, err := o.s.Get(o.t.Context(), node)
	if err != nil {
		o.t.Fatal(err)
	}
	s, err := znode.DecodePartitionState(node, data)
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

// awaitISR waits until the partition's in-sync replicas are these, in any order.
func (o *observer) awaitISR(tp cluster.TopicPartition, want ...cluster.BrokerID) {
	o.t.Helper()
	slices.Sort(want)
	for range 600 {
		got := slices.Clone(o.state(tp).ISR)
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	o.t.Fatalf("in-sync replicas of %s are %v, want %v", tp, o.state(tp).ISR, want)
}

// worker is producers that send numbered records, a consumer that reads them, a client that asks where the partition ends, and the history of what all of
// them were told.
type worker struct {
	*history.History
	t      *testing.T
	stops  []func() error
	reader *reader
}

// load starts a producer that sends a record every 20 ms until it is judged.
func load(t *testing.T, cl *client.Client, prefix string, opts ...producer.Option) *worker {
	t.Helper()
	return bursts(t, cl, prefix, 1, opts...)
}

// bursts is load with several records every 20 ms.
func bursts(t *testing.T, cl *client.Client, prefix string, burst int, opts ...producer.Option) *worker {
	t.Helper()
	w := &worker{History: history.New(time.Now), t: t}
	w.reader = startReader(t, cl, w.History)
	w.produce(cl, prefix, burst, opts...)
	return w
}

// produce adds a producer.
func (w *worker) produce(cl *client.Client, prefix string, burst int, opts ...producer.Option) {
	w.t.Helper()
	p, err := producer.New(cl, append([]producer.Option{producer.WithAcks(producer.AcksAll)}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			value := fmt.Sprint(prefix, i)
			s := w.Send(prefix, events, value)
			_ = p.SendAsync(ctx, producer.Record{Topic: events.Topic, Partition: producer.To(0), Value: []byte(value)}, func(r producer.Result, err error) {
				if err != nil {
					s.Failed(err)
					return
				}
				s.Acked(r.Offset)
			})
			if (i+1)%burst == 0 {
				<-time.After(20 * time.Millisecond)
			}
		}
	})
	stop := sync.OnceValue(func() error {
		cancel()
		wg.Wait()
		return p.Close(context.Background())
	})
	w.stops = append(w.stops, stop)
	w.t.Cleanup(func() { _ = stop() }) // a test that has failed may not get that far
}

// judge ends the load, reads the partition and compares: everything that was acknowledged is there, where the producer was told, in the order in which
// it was sent, once, and offsets are dense.
func (w *worker) judge(cl *client.Client) history.Report {
	w.t.Helper()
	for _, stop := range w.stops {
		if err := stop(); err != nil {
			w.t.Errorf("close the producer: %v", err)
		}
	}
	last := w.Final(events)
	all := readAll(w.t, cl, events.Topic)
	for i, v := range all {
		last.Got(events, cluster.Offset(i), v)
	}
	w.reader.stopAt(cluster.Offset(len(all)))
	r, err := w.Check(history.Options{Idempotent: true})
	switch {
	case err != nil:
		w.t.Error(err)
	case len(r.Anomalies) > 0:
		w.t.Error(r)
	case r.Acked == 0:
		w.t.Error("nothing was acknowledged")
	default:
		w.t.Log(r)
	}
	return r
}

// flawless is judge, and no record may have failed.
func (w *worker) flawless(cl *client.Client) history.Report {
	w.t.Helper()
	r := w.judge(cl)
	if r.Failed > 0 {
		w.t.Errorf("%d records failed, the first with %v", r.Failed, r.FirstError)
	}
	return r
}

// settled waits until the replicas of a partition have the same bytes on their disks, and fails if they never do.
func settled(t *testing.T, c *Cluster, tp cluster.TopicPartition, ids ...int) {
	t.Helper()
	var sizes []int
	for range 300 {
		sizes = sizes[:0]
		first := onDisk(t, c, tp, ids[0])
		same := true
		for _, id := range ids {
			data := onDisk(t, c, tp, id)
			sizes = append(sizes, len(data))
			same = same && bytes.Equal(first, data)
		}
		if same && len(first) > 0 {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Errorf("the replicas of %s on %v differ; they have %v bytes", tp, ids, sizes)
}

// onDisk returns the bytes of a partition's segments, with their names.
func onDisk(t *testing.T, c *Cluster, tp cluster.TopicPartition, id int) []byte {
	t.Helper()
	var out []byte
	for _, name := range segmentFiles(t, c, tp, id) {
		data, err := vfs.ReadFile(c.Disk(id), name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, path.Base(name)...), data...)
	}
	return out
}

// segmentFiles returns the paths of a partition's segments, in whichever log directory they are.
func segmentFiles(t *testing.T, c *Cluster, tp cluster.TopicPartition, id int) (names []string) {
	t.Helper()
	dirs, err := c.Disk(id).ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		dir := path.Join("/", d.Name(), tp.String())
		list, err := c.Disk(id).ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range list {
			if strings.HasSuffix(e.Name(), ".log") {
				names = append(names, path.Join(dir, e.Name()))
			}
		}
	}
	return names
}

// acked sends n records one by one and wants each acknowledged.
func acked(t *testing.T, cl *client.Client, prefix string, n int, opts ...producer.Option) {
	t.Helper()
	p, err := producer.New(cl, append([]producer.Option{producer.WithAcks(producer.AcksAll)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := p.Send(t.Context(), producer.Record{Topic: events.Topic, Partition: producer.To(0), Value: fmt.Appendf(nil, "%s%d", prefix, i)}); err != nil {
			t.Fatalf("record %s%d: %v", prefix, i, err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// cut cuts a broker from others.
func cut(c *Cluster, id int, others ...int) {
	for _, o := range others {
		c.Network().Cut(host(id), host(o))
	}
}

// heal undoes cut.
func heal(c *Cluster, id int, others ...int) {
	for _, o := range others {
		c.Network().Heal(host(id), host(o))
	}
}
