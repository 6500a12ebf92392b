package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
)

// plan is one run of the whole comparison.
type plan struct {
	rounds, batch, warmMiB, fillGiB, starts int
	scale                                   float64
	only, dir, binary, sizes, partitions    string
	profile                                 string
	samples                                 map[cell][]sample
}

// cell is one figure of the table.
type cell struct {
	system, direction string
	size, partitions  int
}

// sample is one measurement of a cell.
type sample struct {
	outcome
	ServerCPU, ServerMB float64
}

// prepare makes the directory and fills the page cache, as far as the plan says. done undoes it.
func (p *plan) prepare() (done func(), err error) {
	var undo []func()
	done = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	if p.dir == "" {
		d, err := os.MkdirTemp("", "ottla-bench-")
		if err != nil {
			return done, err
		}
		undo = append(undo, func() { os.RemoveAll(d) })
		p.dir = d
	}
	if p.binary, err = filepath.Abs(p.binary); err != nil {
		return done, err
	}
	if err := os.Setenv("OTTLA_BENCH_BINARY", p.binary); err != nil {
		return done, err
	}
	if p.starts > 0 {
		return done, nil
	}
	filler, err := fill(p.dir, p.fillGiB)
	if err != nil {
		return done, err
	}
	undo = append(undo, func() { filler.Close() })
	return done, nil
}

func (p *plan) run(ctx context.Context) error {
	done, err := p.prepare()
	defer done()
	if err != nil {
		return err
	}
	if p.starts > 0 {
		return startTimes(ctx, p.binary, p.dir, p.starts)
	}
	names := []string{"bare", "franz", "ottla"}
	if p.only != "" {
		names = strings.Split(p.only, ",")
	}
	p.samples = map[cell][]sample{}
	for round := range p.rounds {
		for _, size := range numbers(p.sizes) {
			for _, partitions := range numbers(p.partitions) {
				for i := range names {
					name := names[(i+round)%len(names)] // nobody always comes first
					if err := p.one(ctx, name, size, partitions); err != nil {
						return fmt.Errorf("%s, %d B, %d partitions: %w", name, size, partitions, err)
					}
				}
			}
		}
	}
	p.print(names)
	return nil
}

func numbers(list string) []int {
	var out []int
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err == nil {
			out = append(out, n)
		}
	}
	return out
}

// one starts a server, produces to it, consumes from it, and stops it.
func (p *plan) one(ctx context.Context, name string, size, partitions int) error {
	dir, err := os.MkdirTemp(p.dir, name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := startServer(ctx, name, dir, partitions)
	if err != nil {
		return err
	}
	defer s.stop()
	records := int(p.scale * 1_000_000)
	if size < 512 {
		records *= 5
	}
	j := job{System: name, Addr: s.addr, Topic: "bench", Partitions: partitions, Records: records, Size: size, BatchBytes: p.batch}
	for _, direction := range []string{"produce", "consume"} {
		if err := warm(p.dir, p.warmMiB); err != nil {
			return err
		}
		before := cpuOf(s.pid)
		o, err := p.client(ctx, direction, j)
		if err != nil {
			return fmt.Errorf("%s: %w", direction, err)
		}
		c := cell{name, direction, size, partitions}
		m := sample{o, cpuOf(s.pid) - before, peakMemory(s.pid)}
		p.samples[c] = append(p.samples[c], m)
		fmt.Fprintf(os.Stderr, "%-6s %-8s %5d B %d partitions: %9.0f records/s %7.1f MB/s\n", name, direction, size, partitions, m.rate(), m.mbs())
	}
	return nil
}

func (m sample) rate() float64 { return float64(m.Records) / m.Seconds }
func (m sample) mbs() float64  { return float64(m.Bytes) / m.Seconds / 1e6 }

// client runs one client process.
func (p *plan) client(ctx context.Context, direction string, j job) (outcome, error) {
	arg, err := json.Marshal(j)
	if err != nil {
		return outcome{}, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-client", direction, string(arg))
	cmd.Env = os.Environ()
	if p.profile != "" && j.System == "ottla" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("OTTLA_BENCH_PROFILE=%s/%s-%d-%d.pprof", p.profile, direction, j.Size, j.Partitions))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return outcome{}, err
	}
	var o outcome
	return o, json.Unmarshal(out.Bytes(), &o)
}

// server is a running server process.
type server struct {
	cmd  *exec.Cmd
	addr string
	pid  int
}

// startServer starts this program in the role of a server and waits for its first line: the address, and for servers that are processes
// of their own their pid.
func startServer(ctx context.Context, name, dir string, partitions int) (*server, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-serve", name, dir, strconv.Itoa(partitions))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, pid: cmd.Process.Pid}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("the server did not start: %w", err)
	}
	f := strings.Fields(line)
	s.addr = f[0]
	if len(f) > 1 {
		if s.pid, err = strconv.Atoi(f[1]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// median returns the sample in the middle by rate.
func median(s []sample) sample {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b sample) int {
		switch {
		case a.rate() < b.rate():
			return -1
		case a.rate() > b.rate():
			return 1
		}
		return 0
	})
	return s[len(s)/2]
}

func (p *plan) print(names []string) {
	fmt.Printf("median of %d rounds; MB = 1e6 bytes of values; CPU in seconds per GB of values\n\n", p.rounds)
	w := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "direction\tvalue\tpartitions\tsystem\trecords/s\tMB/s\tmin..max MB/s\tclient CPU\tserver CPU\tserver peak MB\t/bare\t/franz\t")
	for _, direction := range []string{"produce", "consume"} {
		for _, size := range numbers(p.sizes) {
			for _, partitions := range numbers(p.partitions) {
				for _, name := range names {
					p.row(w, cell{name, direction, size, partitions})
				}
			}
		}
	}
	_ = w.Flush()
}

func (p *plan) row(w *tabwriter.Writer, c cell) {
	all := p.samples[c]
	m := median(all)
	lo, hi := m.mbs(), m.mbs()
	for _, s := range all {
		lo, hi = min(lo, s.mbs()), max(hi, s.mbs())
	}
	ratio := func(to string) string {
		peer := p.samples[cell{to, c.direction, c.size, c.partitions}]
		if c.system != "ottla" || len(peer) == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", m.mbs()/median(peer).mbs())
	}
	gb := float64(m.Bytes) / 1e9
	fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%.0f\t%.0f\t%.0f..%.0f\t%.2f\t%.2f\t%.0f\t%s\t%s\t\n", c.direction, c.size, c.partitions, c.system,
		m.rate(), m.mbs(), lo, hi, m.CPU/gb, m.ServerCPU/gb, m.ServerMB, ratio("bare"), ratio("franz"))
}
