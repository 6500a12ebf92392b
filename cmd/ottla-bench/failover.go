package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// failoverPlan does each fault many times to three real brokers, and measures for how long one producer with acks=all and min.insync.replicas=2 gets no
// acknowledgement. The topic has a partition led by each broker; the producer sends to all of them the whole time. Before each fault all
// replicas are in sync and each partition is led by its preferred replica. At the end everything that was acknowledged must be there.
//
// The hold-down (ottla.early.failover.hold.down.ms) is switched off, because the same broker fails again and again.
type failoverPlan struct {
	runs       int
	only       string
	dir        string
	binary     string
	partitions string // numbers of partitions, for the failover of the controller
}

// fault is something that happens to a cluster.
type fault struct {
	name string
	goal string
	// do makes the fault and undoes it. It may measure something else than the gap.
	do func(f *failover, ctx context.Context) (other time.Duration, err error)
	// other is the name of that.
	other string
}

// topic is what the producer sends to.
const failoverTopic = "failover"

// failover is a run.
type failover struct {
	*processes
	cl    *client.Client
	admin *admin.Admin
	probe *probe
	held  time.Duration // how long a fault lasts
	moved int           // leader epochs since the beginning
}

var faults = []fault{
	{"kill -9 of a leader", "gap <= 1 s", (*failover).killLeader, "serving after exec"},
	{"kill -9 of the controller", "0 failed, new one <= 3 s", (*failover).killController, "new controller"},
	{"SIGSTOP of a leader for 4 s", "gap <= 2.5 s", (*failover).stopLeader, ""},
	{"a leader cut from the other brokers for 4 s", "gap <= 2.5 s", (*failover).cutLeader, ""},
	{"SIGSTOP of a leader for 1.4 s", "no leader moves", (*failover).pauseLeader, ""},
	{"rolling restart by SIGTERM", "gap <= 0.5 s, 0 failed", (*failover).roll, "stop of a broker"},
}

var faultsWithout = []fault{{"kill -9 of a leader, early moves off, session 6 s", "gap <= session + 1 s", (*failover).killLeader, "serving after exec"}}

// faultsOfDisks need file systems that can be frozen, see mountDisks.
var faultsOfDisks = []fault{
	{"disk of a leader frozen for 40 s", "gap <= 3 s", (*failover).freezeDiskOfLeader, ""},
	{"disk of the controller, which leads as well, frozen for 40 s", "gap <= 3 s", (*failover).freezeDiskOfController, ""},
}

// longRuns is how often faults are done at most that take long.
const longRuns = 5

// usualTick is the tickTime of ZooKeeper's sample configuration, in ms.
const usualTick = 2000

func (p *failoverPlan) run(ctx context.Context) error {
	dir, err := os.MkdirTemp(p.dir, "ottla-bench-failover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.binary, err = filepath.Abs(p.binary); err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "fault\truns\tworst gap\tmedian gap\tfailed\tleaders moved\tworst other\tgoal")
	for i, group := range []struct {
		tick   int // ZooKeeper ends a session at the first tick after its timeout
		extra  string
		faults []fault
		runs   int
		disks  bool
	}{
		{usualTick, "ottla.early.failover.hold.down.ms=0", faults, p.runs, false},
		{usualTick, "ottla.early.failover.hold.down.ms=0", faultsOfDisks, min(p.runs, longRuns), true},
		{usualTick / 4, "ottla.early.failover.enable=false\nzookeeper.session.timeout.ms=6000", faultsWithout, p.runs, false},
	} {
		chosen := slices.DeleteFunc(slices.Clone(group.faults), func(f fault) bool { return !strings.Contains(f.name, p.only) })
		if len(chosen) == 0 {
			continue
		}
		home := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		if group.disks {
			unmount, err := mountDisks(home)
			defer unmount()
			if err != nil {
				fmt.Fprintln(os.Stderr, "frozen disks are left out, because no file systems can be made for them here:", err)
				continue
			}
		}
		if err := p.group(ctx, home, group.tick, group.extra, chosen, group.runs, out); err != nil {
			return err
		}
	}
	if p.partitions != "" {
		fmt.Fprintln(out, "\t\t\t\t\t\t\t")
		fmt.Fprintln(out, "kill -9 of the controller with partitions\truns\tworst until all are led\tmedian\tworst since it was noticed\tmedian\tworst new controller\t")
		for _, s := range strings.Split(p.partitions, ",") {
			var n int
			if _, err := fmt.Sscan(s, &n); err != nil {
				return fmt.Errorf("-failover-partitions %q: %w", s, err)
			}
			home := filepath.Join(dir, "partitions-"+s)
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			if err := p.manyPartitions(ctx, home, n, out); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// group does faults to one cluster.
func (p *failoverPlan) group(ctx context.Context, dir string, tick int, extra string, faults []fault, runs int, out *tabwriter.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	procs, err := startProcesses(ctx, dir, p.binary, tick, true, extra)
	if procs != nil {
		defer procs.close()
	}
	if err != nil {
		return err
	}
	f := &failover{processes: procs, held: 4 * time.Second}
	if f.cl, err = client.Dial(ctx, procs.bootstrap(), client.BootstrapTimeout(20*time.Second)); err != nil {
		return err
	}
	defer f.cl.Close()
	f.admin = admin.New(f.cl)
	topic := admin.NewTopic{Name: failoverTopic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{}}
	for i := range int32(brokersInCluster) {
		topic.Assignments[i] = []cluster.BrokerID{cluster.BrokerID(i), cluster.BrokerID((i + 1) % brokersInCluster), cluster.BrokerID((i + 2) % brokersInCluster)}
	}
	res, err := f.admin.CreateTopics(ctx, []admin.NewTopic{topic}, admin.CreateOptions{Timeout: 30 * time.Second})
	if err != nil || res[0].Err != nil {
		return errors.Join(err, res[0].Err)
	}
	if f.probe, err = startProbe(ctx, f.cl); err != nil {
		return err
	}
	for _, what := range faults {
		var gaps, others []time.Duration
		failed, moved := 0, 0
		for run := range runs {
			if err := f.restore(ctx); err != nil {
				return fmt.Errorf("%s, run %d: %w", what.name, run+1, err)
			}
			epochs := f.moved
			f.probe.reset()
			other, err := what.do(f, ctx)
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", what.name, run+1, err)
			}
			if err := f.restore(ctx); err != nil {
				return fmt.Errorf("after %s, run %d: %w", what.name, run+1, err)
			}
			gap, where, n := f.probe.result()
			gaps, others, failed = append(gaps, gap), append(others, other), failed+n
			moved += f.moved - epochs
			fmt.Fprintf(os.Stderr, "%s, run %d: gap %v %s, %d failed, %v\n", what.name, run+1, gap.Round(time.Millisecond), where, n, other.Round(time.Millisecond))
		}
		slices.Sort(gaps)
		slices.Sort(others)
		other := ""
		if what.other != "" {
			other = fmt.Sprintf("%s %v", what.other, others[len(others)-1].Round(time.Millisecond))
		}
		fmt.Fprintf(out, "%s\t%d\t%v\t%v\t%d\t%d\t%s\t%s\n", what.name, runs, gaps[len(gaps)-1].Round(time.Millisecond), gaps[len(gaps)/2].Round(time.Millisecond), failed, moved, other, what.goal)
		_ = out.Flush()
	}
	return f.probe.check(ctx)
}

// restore waits until all replicas are in sync and each partition is led by its preferred replica, and acknowledgements flow.
func (f *failover) restore(ctx context.Context) error {
	until := time.Now().Add(90 * time.Second)
	for {
		topics, err := f.admin.DescribeTopics(ctx, []string{failoverTopic})
		good, epochs := err == nil && len(topics) == 1 && len(topics[0].Partitions) == brokersInCluster, 0
		if good {
			for _, part := range topics[0].Partitions {
				good = good && len(part.ISR) == brokersInCluster && part.Leader == part.Replicas[0]
				epochs += int(part.LeaderEpoch)
			}
		}
		if good {
			f.moved = epochs
			return f.probe.steady(ctx)
		}
		if time.Now().After(until) {
			return fmt.Errorf("the cluster does not come back: %v, %w", topics, err)
		}
		_, _ = f.admin.ElectLeaders(ctx, admin.PreferredElection, nil, time.Second) // what cannot be elected yet is tried again
		time.Sleep(100 * time.Millisecond)
	}
}

// controller returns who is controller.
func (f *failover) controller(ctx context.Context) (int, error) {
	c, err := f.admin.DescribeCluster(ctx)
	if err != nil {
		return 0, err
	}
	if c.Controller < 0 || int(c.Controller) >= brokersInCluster {
		return 0, fmt.Errorf("%w: no controller", errFault)
	}
	return int(c.Controller), nil
}

// leader returns a broker that is not the controller. Each leads a partition.
func (f *failover) leader(ctx context.Context) (int, error) {
	c, err := f.controller(ctx)
	return (c + 1) % brokersInCluster, err
}

func (f *failover) killLeader(ctx context.Context) (time.Duration, error) {
	id, err := f.leader(ctx)
	if err != nil {
		return 0, err
	}
	return f.kill(ctx, id, func() {})
}

// kill kills a broker and starts it again a second after acknowledgements flow once more. It returns how long it took from exec until the broker serves.
func (f *failover) kill(ctx context.Context, id int, meanwhile func()) (time.Duration, error) {
	if err := f.signal(id, syscall.SIGKILL); err != nil {
		return 0, err
	}
	meanwhile()
	if err := f.probe.steady(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	err := f.start(ctx, id)
	return time.Since(start), err
}

func (f *failover) killController(ctx context.Context) (took time.Duration, err error) {
	id, err := f.controller(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	_, err = f.kill(ctx, id, func() {
		for took == 0 && time.Since(start) < 30*time.Second {
			if next, err := f.controller(ctx); err == nil && next != id {
				took = time.Since(start)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	return took, err
}

func (f *failover) stopLeader(ctx context.Context) (time.Duration, error) {
	return 0, f.freeze(ctx, f.held)
}

func (f *failover) pauseLeader(ctx context.Context) (time.Duration, error) {
	return 0, f.freeze(ctx, 1400*time.Millisecond)
}

// freeze stops a leader for a while.
func (f *failover) freeze(ctx context.Context, d time.Duration) error {
	id, err := f.leader(ctx)
	if err != nil {
		return err
	}
	if err := f.signal(id, syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(d)
	return f.signal(id, syscall.SIGCONT)
}

func (f *failover) cutLeader(ctx context.Context) (time.Duration, error) {
	id, err := f.leader(ctx)
	if err != nil {
		return 0, err
	}
	f.relays.isolate(id)
	time.Sleep(f.held)
	f.relays.isolate(-1)
	return 0, nil
}

// roll restarts one broker after the other, and returns the longest time that one took to stop.
func (f *failover) roll(ctx context.Context) (longest time.Duration, err error) {
	for id := range brokersInCluster {
		start := time.Now()
		if err := f.signal(id, syscall.SIGTERM); err != nil {
			return 0, err
		}
		longest = max(longest, time.Since(start))
		if err := f.start(ctx, id); err != nil {
			return 0, err
		}
		if err := f.restore(ctx); err != nil {
			return 0, err
		}
	}
	return longest, nil
}

// manyPartitions kills the controller of a cluster with many partitions, and measures how long it takes until those that it led have another leader.
func (p *failoverPlan) manyPartitions(ctx context.Context, dir string, n int, out *tabwriter.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	procs, err := startProcesses(ctx, dir, p.binary, usualTick, false, "ottla.early.failover.hold.down.ms=0\nlog.index.size.max.bytes=4096")
	if procs != nil {
		defer procs.close()
	}
	if err != nil {
		return err
	}
	cl, err := client.Dial(ctx, procs.bootstrap(), client.BootstrapTimeout(20*time.Second), client.RequestTimeout(5*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	f := &failover{processes: procs, cl: cl, admin: admin.New(cl)}
	res, err := f.admin.CreateTopics(ctx, []admin.NewTopic{{Name: "many", Partitions: int32(n), ReplicationFactor: 3}}, admin.CreateOptions{Timeout: 5 * time.Minute})
	if err != nil && !errors.Is(err, kerr.RequestTimedOut) { // led waits for longer
		return err
	}
	if err == nil && res[0].Err != nil && !errors.Is(res[0].Err, kerr.RequestTimedOut) {
		return res[0].Err
	}
	// led waits until no partition is led by a broker, and all are led and, with full, in sync.
	led := func(not int, full bool) error {
		until := time.Now().Add(5 * time.Minute)
		for time.Now().Before(until) {
			topics, err := f.admin.DescribeTopics(ctx, []string{"many"})
			good := err == nil && len(topics) == 1 && len(topics[0].Partitions) == n
			for i := 0; good && i < n; i++ {
				part := topics[0].Partitions[i]
				good = part.Leader >= 0 && int(part.Leader) != not && (!full || len(part.ISR) == brokersInCluster)
			}
			if good {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
		return fmt.Errorf("%d partitions do not get leaders", n)
	}
	var all, after, controllers []time.Duration
	for run := range p.runs {
		if err := led(-1, true); err != nil {
			return err
		}
		if _, err := f.admin.ElectLeaders(ctx, admin.PreferredElection, nil, time.Minute); err != nil && !errors.Is(err, kerr.RequestTimedOut) {
			return err
		}
		id, err := f.controller(ctx)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := f.signal(id, syscall.SIGKILL); err != nil {
			return err
		}
		next := id
		for next == id {
			time.Sleep(5 * time.Millisecond)
			if c, err := f.controller(ctx); err == nil {
				next = c
			}
		}
		controllers = append(controllers, time.Since(start))
		if err := led(id, false); err != nil {
			return err
		}
		end := time.Now()
		noticed, err := f.noticed(next, start)
		if err != nil {
			return err
		}
		all, after = append(all, end.Sub(start)), append(after, end.Sub(noticed))
		fmt.Fprintf(os.Stderr, "%d partitions, run %d: noticed %v, new controller %v, all led %v\n", n, run+1,
			noticed.Sub(start).Round(time.Millisecond), controllers[run].Round(time.Millisecond), all[run].Round(time.Millisecond))
		if err := f.start(ctx, id); err != nil {
			return err
		}
	}
	slices.Sort(all)
	slices.Sort(after)
	slices.Sort(controllers)
	fmt.Fprintf(out, "%d\t%d\t%v\t%v\t%v\t%v\t%v\t\n", n, len(all), all[len(all)-1].Round(time.Millisecond), all[len(all)/2].Round(time.Millisecond),
		after[len(after)-1].Round(time.Millisecond), after[len(after)/2].Round(time.Millisecond), controllers[len(controllers)-1].Round(time.Millisecond))
	return out.Flush()
}

// noticed returns when a broker found that the controller, which was killed after since, does not answer: its log tells when it had taken its place, and how
// long that took.
func (p *processes) noticed(id int, since time.Time) (time.Time, error) {
	name := filepath.Join(p.logs(fmt.Sprintf("broker-%d", id)), "controller.log")
	text, err := os.ReadFile(name)
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "the controller does not answer and is replaced") {
			continue
		}
		stamp, _, _ := strings.Cut(line, "]")
		at, err := time.ParseInLocation("[2006-01-02 15:04:05,000", stamp, time.Local)
		_, rest, _ := strings.Cut(line, "took=")
		took, _, _ := strings.Cut(rest, " ")
		d, err2 := time.ParseDuration(took)
		if err := errors.Join(err, err2); err != nil {
			return time.Time{}, fmt.Errorf("read %s: %w", name, err)
		}
		if at.After(since) {
			return at.Add(-d), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s does not tell when broker %d noticed that the controller was gone", name, id)
}

// probe is the producer, and what it was told.
type probe struct {
	cl *client.Client
	p  *producer.Producer

	mu     sync.Mutex
	last   [brokersInCluster]time.Time // of the last acknowledgement of each partition
	acks   [brokersInCluster]int       // since last reset
	gap    time.Duration               // the longest since then
	where  string                      // of which partition, and when
	failed int
	acked  map[cluster.TopicPartition]map[cluster.Offset]string
}

// startProbe sends to every partition every 2 ms until ctx ends.
func startProbe(ctx context.Context, cl *client.Client) (*probe, error) {
	p, err := producer.New(cl, producer.WithAcks(producer.AcksAll))
	if err != nil {
		return nil, err
	}
	b := &probe{cl: cl, p: p, acked: map[cluster.TopicPartition]map[cluster.Offset]string{}}
	for i := range int32(brokersInCluster) {
		b.acked[cluster.TopicPartition{Topic: failoverTopic, Partition: i}] = map[cluster.Offset]string{}
	}
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			for i := range int32(brokersInCluster) {
				value := fmt.Sprintf("%d-%d", i, n)
				_ = p.SendAsync(ctx, producer.Record{Topic: failoverTopic, Partition: producer.To(i), Value: []byte(value)}, func(r producer.Result, err error) {
					b.note(i, value, r, err)
				})
			}
		}
	}()
	return b, nil
}

func (b *probe) note(i int32, value string, r producer.Result, err error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		if !errors.Is(err, client.ErrClosed) && !errors.Is(err, context.Canceled) {
			b.failed++
		}
		return
	}
	if gap := now.Sub(b.last[i]); !b.last[i].IsZero() && gap > b.gap {
		b.gap, b.where = gap, fmt.Sprintf("of partition %d, until %s", i, now.Format("15:04:05.000"))
	}
	b.last[i] = now
	b.acks[i]++
	b.acked[cluster.TopicPartition{Topic: failoverTopic, Partition: i}][r.Offset] = value
}

// reset begins a new measurement.
func (b *probe) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gap, b.failed = 0, 0
}

// result returns the longest gap of any partition, where that was, and how many records failed.
func (b *probe) result() (gap time.Duration, where string, failed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gap, b.where, b.failed
}

// steady waits until every partition has acknowledged a hundred records more, over at least a second.
func (b *probe) steady(ctx context.Context) error {
	b.mu.Lock()
	before := b.acks
	b.mu.Unlock()
	until := time.Now().Add(60 * time.Second)
	time.Sleep(time.Second)
	for {
		b.mu.Lock()
		enough := true
		for i := range b.acks {
			enough = enough && b.acks[i] >= before[i]+100
		}
		b.mu.Unlock()
		switch {
		case enough:
			return nil
		case time.Now().After(until):
			return errors.New("nothing is acknowledged any more")
		case ctx.Err() != nil:
			return ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// check reads everything and looks for what was acknowledged.
func (b *probe) check(ctx context.Context) error {
	if err := b.p.Close(ctx); err != nil {
		return err
	}
	at := map[cluster.TopicPartition]int64{}
	for tp := range b.acked {
		at[tp] = client.Latest
	}
	ends, err := b.cl.ListOffsets(ctx, client.ReadUncommitted, at)
	if err != nil {
		return err
	}
	lost, read := 0, 0
	for tp, acked := range b.acked {
		c, err := consumer.New(b.cl, consumer.OffsetReset(consumer.ResetEarliest))
		if err != nil {
			return err
		}
		if err := c.Assign(tp); err != nil {
			return err
		}
		for r, err := range c.Records(ctx) {
			if err != nil {
				return err
			}
			if value, ok := acked[r.Offset]; ok && value == string(r.Value) {
				delete(acked, r.Offset)
				read++
			}
			if r.Offset+1 >= ends[tp].Offset {
				break
			}
		}
		if err := c.Close(ctx); err != nil {
			return err
		}
		lost += len(acked)
	}
	fmt.Fprintf(os.Stderr, "%d acknowledged records read back, %d lost\n", read, lost)
	if lost > 0 {
		return fmt.Errorf("%d acknowledged records are not where they were acknowledged", lost)
	}
	return nil
}
