package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/brokertest/history"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

const (
	torturePartitions = 3
	tortureProducers  = 3
	// tortureSession is the brokers' session with ZooKeeper: short, so that many sessions end in a run.
	tortureSession = 3 * time.Second
	// toHeal bounds the time from the end of a fault until all replicas are in sync again.
	toHeal = 90 * time.Second
)

func tortureTopic(partition int) cluster.TopicPartition {
	return cluster.TopicPartition{Topic: "torture", Partition: int32(partition)}
}

// TestTorture does to three brokers and ZooKeeper, as processes, one evil after the other and sometimes two at a time: kill -9, SIGSTOP for longer than
// the session, orderly stops, the same to ZooKeeper, no descriptors left, and cuts of the network between two or from everybody. Producers write with idempotence and
// acks=all to partitions with three replicas and min.insync.replicas=2, and a consumer reads along. After each attack all replicas must get in sync again, and in
// the end the history must have no anomaly and the replicas the same bytes.
//
// The environment says how: OTTLA_TORTURE is how long to go on (10s; "make e2e" 75s, "make torture" 30m), OTTLA_TORTURE_SEED which attacks to make, OTTLA_TORTURE_ZOOKEEPER=apache
// takes Apache's ZooKeeper, OTTLA_TORTURE_NETWORK=loopback leaves the cuts out, OTTLA_TORTURE_ACKS=1 makes producers wait for leaders only, so that records are lost
// and the test has to fail, OTTLA_TORTURE_DIR is where data and logs go (a temporary folder, kept when the test fails).
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("not in a short run")
	}
	duration, seed := 10*time.Second, uint64(time.Now().UnixNano())
	if s := os.Getenv("OTTLA_TORTURE"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatalf("OTTLA_TORTURE: %v", err)
		}
	}
	if s := os.Getenv("OTTLA_TORTURE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("OTTLA_TORTURE_SEED: %v", err)
		}
	}
	run := &torture{t: t, history: history.New(time.Now), counts: map[evil]int{}}
	l, why := (*lab)(nil), "OTTLA_TORTURE_NETWORK says so"
	if os.Getenv("OTTLA_TORTURE_NETWORK") != "loopback" {
		if l, why = newLab(t, zookeeperNode+1); why != "" {
			l = nil
		}
	}
	if l == nil {
		t.Logf("without cuts of the network: %s", why)
	}
	ottla(t) // built before the clock runs
	run.start = time.Now()
	dir := tortureDir(t)
	t.Logf("seed %d, %v; OTTLA_TORTURE_SEED=%d makes the same attacks again", seed, duration, seed)
	run.cluster = newCluster(t, dir, l, tortureSession)
	run.prepare()
	run.work()
	var more []evil
	if l != nil {
		more = networkEvil
	}
	if _, err := exec.LookPath("prlimit"); err == nil {
		more = append(slices.Clone(more), starve)
	}
	plan := newPlanner(seed, tortureSession, more...)
	for time.Since(run.start) < duration {
		run.attack(plan.next())
	}
	run.judge()
}

// tortureDir is a folder for data and logs, which goes when the test passes.
func tortureDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("OTTLA_TORTURE_DIR"), "ottla-torture-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("data and logs are in %s", dir)
		} else {
			os.RemoveAll(dir)
		}
	})
	return dir
}

// torture is one run.
type torture struct {
	t       *testing.T
	start   time.Time
	cluster *tortured
	history *history.History
	counts  map[evil]int
	rounds  int
	slowest time.Duration // to be whole again
	deaths  int           // of brokers that ended by themselves

	watching chan *history.Cluster
	unwatch  context.CancelFunc

	acks      producer.Acks
	producers []*worker
	reading   sync.WaitGroup
	unread    context.CancelFunc
	position  [torturePartitions]atomic.Int64 // of the consumer
	acked     [torturePartitions]pace         // acknowledgements of all producers
}

// logf logs with the time since the start.
func (r *torture) logf(format string, args ...any) {
	r.t.Helper()
	r.t.Logf("%8.3fs  %s", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
}

// dial connects a client.
func (r *torture) dial(options ...client.Option) *client.Client {
	r.t.Helper()
	options = append([]client.Option{client.BootstrapTimeout(time.Minute), client.RequestTimeout(3 * time.Second)}, options...)
	cl, err := client.Dial(r.t.Context(), strings.Join(r.cluster.addrs, ","), options...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { cl.Close() })
	return cl
}

// prepare creates the topic and begins to watch.
func (r *torture) prepare() {
	r.t.Helper()
	r.dial()
	within(r.t, time.Minute, "the topic is created", func() bool {
		return tool(r.t, nil, "topics", "--create", "--if-not-exists", "--topic", "torture", "--partitions", strconv.Itoa(torturePartitions), "--replication-factor", "3",
			"--config", "min.insync.replicas=2", "--config", "segment.bytes=262144", "--bootstrap-server", strings.Join(r.cluster.addrs, ",")).code == 0
	})
	var partitions []cluster.TopicPartition
	for p := range torturePartitions {
		partitions = append(partitions, tortureTopic(p))
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	r.unwatch, r.watching = cancel, make(chan *history.Cluster, 1)
	go func() { r.watching <- r.cluster.watch(ctx, partitions, 1, 2, 3) }()
	r.t.Cleanup(cancel)
	r.await("all replicas are in sync")
}

// await waits until all replicas are in sync. Brokers that have ended are started again, as an operator's machine would.
func (r *torture) await(what string) {
	r.t.Helper()
	start := time.Now()
	within(r.t, toHeal, what, func() bool {
		for _, b := range r.cluster.brokers {
			if !b.running() {
				if code, _ := b.await(0); code != 0 {
					r.deaths++
					r.logf("%s has ended with %d", b.name, code)
				}
				b.start()
			}
		}
		return r.cluster.whole(start)
	})
	r.slowest = max(r.slowest, time.Since(start))
}

// worker is a producer.
type worker struct {
	name string
	p    *producer.Producer
	stop func()
}

// work starts the producers and the consumer.
func (r *torture) work() {
	r.t.Helper()
	if r.acks = producer.AcksAll; os.Getenv("OTTLA_TORTURE_ACKS") == "1" {
		r.acks = producer.AcksLeader
	}
	for i := range tortureProducers {
		w := &worker{name: fmt.Sprint("p", i)}
		var err error
		if w.p, err = producer.New(r.dial(), producer.WithAcks(r.acks), producer.DeliveryTimeout(20*time.Second), producer.RequestTimeout(3*time.Second)); err != nil {
			r.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(r.t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.produce(ctx, w) })
		w.stop = func() { cancel(); wg.Wait() }
		r.producers = append(r.producers, w)
	}
	c, err := consumer.New(r.dial(), consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.AssignTopics(r.t.Context(), "torture"); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	r.unread = cancel
	reader := r.history.Reader("the live consumer")
	r.reading.Go(func() {
		for rec, err := range c.Records(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					r.logf("the consumer: %v", err)
				}
				continue
			}
			reader.Got(cluster.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}, rec.Offset, string(rec.Value))
			r.position[rec.Partition].Store(int64(rec.Offset) + 1)
		}
		_ = c.Close(context.Background())
	})
	r.t.Cleanup(func() { cancel(); r.reading.Wait() })
}

// produce sends records of different sizes to the partitions in turn until ctx ends.
func (r *torture) produce(ctx context.Context, w *worker) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		tp := tortureTopic(i % torturePartitions)
		value := fmt.Sprintf("%s-%d-%s", w.name, i, strings.Repeat(string(rune('a'+i%26)), i%200))
		s := r.history.Send(w.name, tp, value)
		err := w.p.SendAsync(ctx, producer.Record{Topic: tp.Topic, Partition: producer.To(tp.Partition), Value: []byte(value)}, func(res producer.Result, err error) {
			if err != nil {
				s.Failed(err)
				return
			}
			s.Acked(res.Offset)
			r.acked[tp.Partition].step()
		})
		if err != nil {
			s.Failed(err)
		}
		<-tick.C
	}
}

// attack makes an attack, undoes it, and waits until all is well.
func (r *torture) attack(a attack) {
	r.t.Helper()
	r.rounds++
	<-time.After(a.rest)
	r.logf("%v", a)
	type held struct {
		until time.Time
		undo  func()
	}
	var all []held
	avoid := 0
	for i, f := range a.faults {
		if i > 0 {
			<-time.After(a.apart)
		}
		id, peer := r.cluster.find(f)
		if id == avoid {
			id, peer = peer, id
		}
		if !f.ofZooKeeper() {
			avoid = id
		}
		r.counts[f.evil]++
		all = append(all, held{time.Now().Add(f.hold), r.do(f, id, peer)})
	}
	slices.SortFunc(all, func(a, b held) int { return a.until.Compare(b.until) })
	for _, h := range all {
		<-time.After(time.Until(h.until))
		h.undo()
	}
	r.logf("healed")
	r.await("all replicas are in sync again")
	r.progress()
}

// progress waits until everybody has been told of one more record than before.
func (r *torture) progress() {
	r.t.Helper()
	for _, w := range r.producers {
		before := r.history.Acknowledged(w.name)
		within(r.t, toHeal, "the producer "+w.name+" goes on", func() bool { return r.history.Acknowledged(w.name) > before })
	}
	for p := range torturePartitions {
		before := r.position[p].Load()
		within(r.t, toHeal, fmt.Sprintf("the consumer goes on with partition %d", p), func() bool { return r.position[p].Load() > before })
	}
}

// do begins a fault, and returns what ends it.
func (r *torture) do(f fault, id, peer int) (undo func()) {
	r.t.Helper()
	b := r.cluster.brokers[id-1]
	third := 6 - id - peer
	l := r.cluster.lab
	cut := func(f func(arrives bool)) func() { f(false); return func() { f(true) } }
	must := func(err error) {
		if err != nil {
			r.t.Fatalf("%v: %v", f, err)
		}
	}
	if !f.ofZooKeeper() && f.evil != killAll {
		r.logf("  to broker %d (with %d)", id, peer)
	}
	switch f.evil {
	case kill:
		b.Kill()
		return b.start
	case stop:
		b.send(syscall.SIGTERM)
		if _, ok := b.await(time.Minute); !ok {
			r.t.Errorf("%s does not stop within a minute", b.name)
			b.Kill()
		}
		return b.start
	case pause:
		must(b.Freeze())
		return func() { must(b.Thaw()) }
	case blink:
		for range 3 {
			must(b.Freeze())
			<-time.After(f.hold)
			must(b.Thaw())
			<-time.After(f.hold / 3)
		}
		return func() {}
	case starve:
		undo, err := b.starve()
		must(err)
		return undo
	case killAll:
		for _, b := range r.cluster.brokers {
			b.send(syscall.SIGKILL)
		}
		for _, b := range r.cluster.brokers {
			b.await(10 * time.Second)
		}
		return func() {
			for _, b := range r.cluster.brokers {
				b.start()
			}
		}
	case zookeeperKill:
		r.cluster.zookeeper.Kill()
		return func() { must(r.cluster.zookeeper.Run()) }
	case zookeeperPause:
		must(r.cluster.zookeeper.Freeze())
		return func() { must(r.cluster.zookeeper.Thaw()) }
	case cutPeer:
		return cut(func(arrives bool) { l.both(id, arrives, peer) })
	case cutOneWay:
		return cut(func(arrives bool) { l.oneWay(id, peer, arrives) })
	case cutPeers:
		return cut(func(arrives bool) { l.both(id, arrives, peer, third) })
	case cutZooKeeper:
		return cut(func(arrives bool) { l.both(id, arrives, zookeeperNode) })
	case cutIsland:
		return cut(func(arrives bool) { l.both(id, arrives, peer, third, zookeeperNode) })
	case cutAcknowledged:
		return cut(func(arrives bool) { l.oneWay(id, 0, arrives) })
	}
	r.t.Fatalf("nobody knows how to do %v", f)
	return nil
}

// judge ends the work, compares what everybody saw, and returns the verdict on what clients saw.
func (r *torture) judge() history.Report {
	r.t.Helper()
	for _, w := range r.producers {
		w.stop()
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		if err := w.p.Close(ctx); err != nil {
			r.t.Errorf("close the producer %s: %v", w.name, err)
		}
		cancel()
	}
	r.await("all replicas are in sync in the end")
	cl := r.dial()
	ends := r.ends(cl)
	within(r.t, toHeal, "the consumer gets to the end", func() bool {
		for p := range torturePartitions {
			if r.position[p].Load() < int64(ends[tortureTopic(p)]) {
				return false
			}
		}
		return true
	})
	r.unread()
	r.reading.Wait()
	r.unwatch()
	found, elections, controllers := (<-r.watching).Check()
	for tp, end := range ends {
		r.readAll(cl, tp, end)
	}
	found = append(found, r.compare(ends)...)
	for _, b := range r.cluster.brokers {
		b.send(syscall.SIGTERM)
	}
	for _, b := range r.cluster.brokers {
		if code, ok := b.await(time.Minute); !ok || code != 0 {
			r.t.Errorf("%s ends with %d within a minute: %v", b.name, code, ok)
		}
	}
	r.accidents()
	report, err := r.history.Check(history.Options{Idempotent: r.acks == producer.AcksAll})
	if err != nil {
		r.t.Error(err)
	}
	report.Anomalies = append(report.Anomalies, found...)
	r.logf("%d attacks, all replicas in sync again within %v, %d leader epochs, %d controllers, %d brokers ended by themselves", r.rounds, r.slowest.Round(time.Millisecond), elections, controllers, r.deaths)
	for _, e := range slices.Sorted(maps.Keys(r.counts)) {
		r.logf("  %-24s %d", e, r.counts[e])
	}
	if r.logf("%v", report); len(report.Anomalies) > 0 || report.Acked == 0 {
		r.t.Error("the history has anomalies, or nothing was acknowledged")
	}
	return report
}

// ends returns where the partitions end, when two readings agree.
func (r *torture) ends(cl *client.Client) map[cluster.TopicPartition]cluster.Offset {
	r.t.Helper()
	var ends map[cluster.TopicPartition]cluster.Offset
	within(r.t, toHeal, "the ends of all partitions are known", func() bool {
		want := map[cluster.TopicPartition]int64{}
		for p := range torturePartitions {
			want[tortureTopic(p)] = client.Latest
		}
		got, err := cl.ListOffsets(r.t.Context(), client.ReadUncommitted, want)
		if err != nil {
			return false
		}
		before := ends
		ends = map[cluster.TopicPartition]cluster.Offset{}
		for tp, o := range got {
			if o.Err != nil {
				return false
			}
			ends[tp] = o.Offset
		}
		return maps.Equal(before, ends)
	})
	return ends
}

// readAll reads a partition from its beginning to its end into the history.
func (r *torture) readAll(cl *client.Client, tp cluster.TopicPartition, end cluster.Offset) {
	r.t.Helper()
	last := r.history.Final(tp)
	if end == 0 {
		return
	}
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetNone))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := errors.Join(c.Assign(tp), c.Seek(tp, 0)); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Minute)
	defer cancel()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			r.t.Errorf("read %s: %v", tp, err)
			return
		}
		if last.Got(tp, rec.Offset, string(rec.Value)); rec.Offset+1 >= end {
			return
		}
	}
}

// compare waits until the files of all replicas are the same below the high watermark, and returns what is wrong if they do not become so.
func (r *torture) compare(ends map[cluster.TopicPartition]cluster.Offset) (found []history.Anomaly) {
	r.t.Helper()
	for start := time.Now(); ; <-time.After(500 * time.Millisecond) {
		found = found[:0]
		for tp, end := range ends {
			var replicas []history.Replica
			for _, b := range r.cluster.brokers {
				files, err := filepath.Glob(filepath.Join(r.cluster.dir, b.name, tp.String(), "*.log"))
				if err != nil {
					r.t.Fatal(err)
				}
				slices.Sort(files)
				var all bytes.Buffer
				for _, name := range files {
					data, err := os.ReadFile(name)
					if err != nil {
						r.t.Fatal(err)
					}
					all.Write(data)
				}
				replicas = append(replicas, history.Replica{Name: b.name, Log: all.Bytes()})
			}
			found = append(found, history.CompareLogs(tp, end, replicas...)...)
		}
		if len(found) == 0 || time.Since(start) > 20*time.Second {
			return found
		}
	}
}

// accidents looks for what a process must never say.
func (r *torture) accidents() {
	r.t.Helper()
	logs, err := filepath.Glob(filepath.Join(r.cluster.dir, "*.log"))
	if err != nil || len(logs) < 3 {
		r.t.Errorf("logs of processes: %v, %v", logs, err)
	}
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			r.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, "DATA RACE") {
				r.t.Errorf("%s: %s", filepath.Base(name), line)
			}
		}
	}
}
