package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

// replicas is how many brokers the comparison of replication has, and how many copies.
const replicas = 3

// copies is one of the two ways to write that are compared.
type copies struct {
	name string
	all  bool
	on   []cluster.BrokerID
}

var replicationSides = []copies{
	{"acks=1, one copy", false, []cluster.BrokerID{0}},
	{"acks=all, three copies", true, []cluster.BrokerID{0, 1, 2}},
}

// trio is ZooKeeper and three brokers, the real binary, each a process of its own.
type trio struct {
	procs []*exec.Cmd
	addrs []string
}

// replication measures what replication costs: the same producer writes records of 1 KiB to a topic with one partition, in turn with acks=1 to one copy and with
// acks=all to three, on the same three brokers, a fresh topic each time. Then it sends a fifth of each side's own peak rate, record by record without
// linger, and prints how long answers take.
func (p *plan) replication(ctx context.Context) error {
	done, err := p.prepare()
	defer done()
	if err != nil {
		return err
	}
	t, err := startTrio(ctx, p.dir)
	if err != nil {
		return err
	}
	defer t.stop()
	cl, err := client.Dial(ctx, strings.Join(t.addrs, ","), client.BootstrapTimeout(20*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := t.assembled(ctx, cl); err != nil {
		return err
	}
	peaks, calm := make([][]sample, 2), make([][]sample, 2)
	for round := range p.rounds + 1 { // the first makes everything warm and does not count
		for i := range replicationSides {
			side := (i + round) % 2
			s, err := p.write(ctx, t, cl, replicationSides[side], int(p.scale*300_000), 0)
			if err != nil {
				return fmt.Errorf("%s: %w", replicationSides[side].name, err)
			}
			fmt.Fprintf(os.Stderr, "%-24s %7.1f MB/s  client %.2f, brokers %.2f CPU s/GB\n", replicationSides[side].name, s.mbs(), s.CPU/(float64(s.Bytes)/1e9), s.ServerCPU/(float64(s.Bytes)/1e9))
			if round > 0 {
				peaks[side] = append(peaks[side], s)
			}
		}
	}
	for range p.rounds {
		for side := range replicationSides {
			rate := median(peaks[side]).rate() / 5
			s, err := p.write(ctx, t, cl, replicationSides[side], int(rate*2), rate)
			if err != nil {
				return fmt.Errorf("%s at %.0f records/s: %w", replicationSides[side].name, rate, err)
			}
			calm[side] = append(calm[side], s)
		}
	}
	printReplication(p.rounds, peaks, calm)
	return nil
}

// write makes a topic, writes to it and deletes it.
func (p *plan) write(ctx context.Context, t *trio, cl *client.Client, side copies, records int, rate float64) (sample, error) {
	a, topic := admin.New(cl), fmt.Sprintf("bench-%d", time.Now().UnixNano())
	res, err := a.CreateTopics(ctx, []admin.NewTopic{{
		Name: topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: side.on},
		Configs: map[string]string{"min.insync.replicas": strconv.Itoa(min(2, len(side.on))), "file.delete.delay.ms": "0"},
	}}, admin.CreateOptions{Timeout: 20 * time.Second})
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		return sample{}, err
	}
	if err := warm(p.dir, p.warmMiB); err != nil {
		return sample{}, err
	}
	before := t.cpu()
	o, err := p.client(ctx, "produce", job{
		System: "ottla", Addr: strings.Join(t.addrs, ","), Topic: topic, Partitions: 1, Records: records, Size: 1024, BatchBytes: p.batch, All: side.all, Rate: rate,
	})
	if err != nil {
		return sample{}, err
	}
	s := sample{outcome: o, ServerCPU: t.cpu() - before}
	deleted, err := a.DeleteTopics(ctx, []string{topic}, 20*time.Second)
	if err == nil {
		err = deleted[0].Err
	}
	return s, err
}

func startTrio(ctx context.Context, dir string) (*trio, error) {
	t := &trio{}
	zkPort, err := freePort()
	if err != nil {
		return nil, err
	}
	props := fmt.Sprintf("dataDir=%s/zk\nclientPort=%d\nmaxClientCnxns=0\nadmin.enableServer=false\n", dir, zkPort)
	if err := t.start(dir, "zookeeper", "zookeeper", props); err != nil {
		return nil, err
	}
	for id := range replicas {
		port, err := freePort()
		if err != nil {
			t.stop()
			return nil, err
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		props := fmt.Sprintf("broker.id=%d\nlisteners=PLAINTEXT://%s\nlog.dirs=%s/logs-%d\nzookeeper.connect=127.0.0.1:%d\n", id, addr, dir, id, zkPort)
		if err := t.start(dir, "broker", fmt.Sprint("broker-", id), props); err != nil {
			t.stop()
			return nil, err
		}
		t.addrs = append(t.addrs, addr)
	}
	return t, ctx.Err()
}

// start starts one process with a properties file of that name.
func (t *trio) start(dir, command, name, props string) error {
	file := filepath.Join(dir, name+".properties")
	if err := os.WriteFile(file, []byte(props), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(os.Getenv("OTTLA_BENCH_BINARY"), command, file)
	cmd.Env = append(os.Environ(), "LOG_DIR="+filepath.Join(dir, name+".log"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	t.procs = append(t.procs, cmd)
	return nil
}

func (t *trio) stop() {
	for _, cmd := range slices.Backward(t.procs) {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
}

// cpu returns the CPU seconds of the brokers so far.
func (t *trio) cpu() float64 {
	sum := 0.0
	for _, cmd := range t.procs[1:] {
		sum += cpuOf(cmd.Process.Pid)
	}
	return sum
}

// assembled waits until all brokers are known.
func (t *trio) assembled(ctx context.Context, cl *client.Client) error {
	for {
		if err := cl.Refresh(ctx); err != nil {
			return err
		}
		b, err := cl.Brokers(ctx)
		if err != nil || len(b) == replicas {
			return err
		}
		if err := client.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// paced sends at a given rate, in bursts of what has come due within a millisecond, and measures how long each record's answer takes.
func paced(ctx context.Context, p *producer.Producer, j job) (outcome, error) {
	value := make([]byte, j.Size)
	took := make([]time.Duration, 0, j.Records)
	var mu sync.Mutex
	var failure error
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	w := startWatch()
	for sent := 0; sent < j.Records; {
		due := min(int(time.Since(w.start).Seconds()*j.Rate), j.Records)
		for ; sent < due; sent++ {
			began := time.Now()
			err := p.SendAsync(ctx, producer.Record{Topic: j.Topic, Value: value}, func(_ producer.Result, err error) {
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(began))
				if err != nil {
					failure = err
				}
			})
			if err != nil {
				return outcome{}, err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return outcome{}, ctx.Err()
		}
	}
	if err := p.Flush(ctx); err != nil {
		return outcome{}, err
	}
	o := w.outcome(int64(j.Records), int64(j.Records)*int64(j.Size))
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(took)
	if n := len(took); n > 0 {
		o.P50, o.P99 = took[n/2].Seconds()*1e3, took[n*99/100].Seconds()*1e3
	}
	if failure != nil {
		return outcome{}, failure
	}
	return o, p.Close(ctx)
}

func printReplication(rounds int, peaks, calm [][]sample) {
	fmt.Printf("median of %d rounds; MB = 1e6 bytes of values of 1 KiB, one partition, three brokers on this machine; CPU in seconds per GB of values\n\n", rounds)
	w := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tMB/s\tmin..max\tratio\tclient CPU\tbrokers CPU\tp50 ms at 20 %\tp99 ms\t")
	base := median(peaks[0]).mbs()
	for side, c := range replicationSides {
		m := median(peaks[side])
		lo, hi := m.mbs(), m.mbs()
		for _, s := range peaks[side] {
			lo, hi = min(lo, s.mbs()), max(hi, s.mbs())
		}
		at := byLatency(calm[side])
		gb := float64(m.Bytes) / 1e9
		fmt.Fprintf(w, "%s\t%.0f\t%.0f..%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", c.name, m.mbs(), lo, hi, m.mbs()/base, m.CPU/gb, m.ServerCPU/gb, at.P50, at.P99)
	}
	_ = w.Flush()
}

// byLatency returns the sample with the median of the 99th percentiles.
func byLatency(s []sample) sample {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b sample) int { return int(min(max((a.P99-b.P99)*1e6, -1), 1)) })
	return s[len(s)/2]
}
