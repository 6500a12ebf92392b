package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// zooPlan compares the embedded ZooKeeper with Apache's. Both servers are processes of their own, with the same
// configuration file and their data on the same disk, and both sync before they answer. They are started once and first
// get a round that does not count, for the sake of Java's compiler; then they take turns, so that nobody always comes first.
type zooPlan struct {
	rounds    int
	scale     float64
	dir       string
	binary    string
	classpath string
	samples   map[zooCell][]zooSample
	starts    map[string][]zooStart
}

// zooCell is one figure of the table.
type zooCell struct {
	system, what string
}

// zooSample is one measurement: of requests one after the other, or of requests in flight together, when there are no latencies.
type zooSample struct {
	perSecond float64
	p50, p99  time.Duration
	serverCPU time.Duration // per request
}

// zooStart is one start of a server on an empty directory.
type zooStart struct {
	firstAnswer time.Duration // from the start of the process until srvr is answered
	memory      float64       // resident then, in MB
}

// zooSystems are those that are compared. The first is ours.
var zooSystems = []string{"embedded", "apache"}

// debianClasspath is where Debian's package zookeeper puts Apache's server and what it needs, with a logger that does nothing.
func debianClasspath() string {
	var jars []string
	for _, name := range []string{
		"zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "netty-all", "netty-handler", "netty-transport", "netty-common",
		"netty-buffer", "netty-codec", "netty-resolver", "snappy-java", "metrics-core", "commons-cli", "commons-io",
	} {
		jars = append(jars, "/usr/share/java/"+name+".jar")
	}
	return strings.Join(jars, ":")
}

func (p *zooPlan) run(ctx context.Context) error {
	dir, err := os.MkdirTemp(p.dir, "ottla-bench-zookeeper-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p.dir = dir
	if p.binary, err = filepath.Abs(p.binary); err != nil {
		return err
	}
	p.samples, p.starts = map[zooCell][]zooSample{}, map[string][]zooStart{}
	for range p.rounds {
		for _, name := range zooSystems {
			if err := p.measureStart(ctx, name); err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
		}
	}
	servers := map[string]*zooServer{}
	for _, name := range zooSystems {
		s, err := p.start(ctx, name)
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		defer s.stop()
		servers[name] = s
	}
	for round := range p.rounds + 1 {
		for _, m := range zooMeasures {
			for i := range zooSystems {
				name := zooSystems[(i+round)%len(zooSystems)]
				sample, err := p.measure(ctx, servers[name], m, round)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", name, m.what, err)
				}
				if round > 0 {
					p.samples[zooCell{name, m.what}] = append(p.samples[zooCell{name, m.what}], sample)
				}
				fmt.Fprintf(os.Stderr, "round %d of %d, %-8s %-36s %9.0f/s\n", round, p.rounds, name, m.what, sample.perSecond)
			}
		}
	}
	p.print(servers)
	return nil
}

// zooServer is a running server process.
type zooServer struct {
	name, addr string
	cmd        *exec.Cmd
	ended      chan struct{} // closed when the process has ended
}

// start starts a server on an empty directory and waits until it answers.
func (p *zooPlan) start(ctx context.Context, name string) (*zooServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(p.dir, name+"-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "zookeeper.properties")
	text := fmt.Sprintf("dataDir=%s/data\nclientPort=%d\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\nforceSync=yes\n",
		dir, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{p.binary, "zookeeper", file}
	if name == "apache" { // with the memory that Kafka's start script gives it
		args = []string{
			"java", "-Xms512M", "-Xmx512M", "-XX:+UseG1GC", "-cp", p.classpath,
			"org.apache.zookeeper.server.quorum.QuorumPeerMain", file,
		}
	}
	s := &zooServer{name: name, addr: "127.0.0.1:" + strconv.Itoa(port), ended: make(chan struct{})}
	var out strings.Builder
	s.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, &out, &out
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	if err := s.awaitAnswer(); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w\n%s", err, out.String())
	}
	return s, nil
}

// awaitAnswer waits until the server answers the four-letter word srvr with its mode.
func (s *zooServer) awaitAnswer() error {
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if strings.Contains(askServer(s.addr), "Mode:") {
			return nil
		}
		select {
		case <-retry.C:
		case <-s.ended:
			return errors.New("the server has ended")
		}
	}
	return errors.New("no answer within a minute")
}

func askServer(addr string) string {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return ""
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(nc, "srvr"); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(nc)
	return string(answer)
}

func (s *zooServer) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// measureStart starts a server on an empty directory, looks how long it took and how large it is, and stops it.
func (p *zooPlan) measureStart(ctx context.Context, name string) error {
	began := time.Now()
	s, err := p.start(ctx, name)
	if err != nil {
		return err
	}
	took := time.Since(began)
	p.starts[name] = append(p.starts[name], zooStart{took, residentMemory(s.cmd.Process.Pid)})
	s.stop()
	return nil
}

// residentMemory returns the resident set of another process, in MB.
func residentMemory(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseFloat(f[1], 64)
	return pages * float64(os.Getpagesize()) / 1e6
}

// measure runs one kind of load against one server.
func (p *zooPlan) measure(ctx context.Context, s *zooServer, m zooMeasure, round int) (zooSample, error) {
	before := cpuOf(s.cmd.Process.Pid)
	n := max(int(float64(m.requests)*p.scale), 10)
	run := pipelined
	if m.inFlight == 1 {
		run = oneByOne
	}
	sample, err := run(ctx, s.addr, m, fmt.Sprintf("/%s-%d", m.node, round), n)
	sample.serverCPU = time.Duration((cpuOf(s.cmd.Process.Pid) - before) / float64(n) * 1e9)
	return sample, err
}

func (p *zooPlan) print(servers map[string]*zooServer) {
	fmt.Printf("median of %d rounds, values of %d B, both sync before they answer; a ratio above 1 is in favour of the embedded server\n\n",
		p.rounds, zooValue)
	w := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "what\tserver\tper second\tmin..max\tp50 µs\tp99 µs\tserver CPU µs\tratio\tratio p50\tratio p99\t")
	for _, m := range zooMeasures {
		ours, theirs := p.median(zooCell{"embedded", m.what}), p.median(zooCell{"apache", m.what})
		for _, name := range zooSystems {
			p.row(w, zooCell{name, m.what}, ours, theirs)
		}
	}
	for _, name := range zooSystems {
		all := p.starts[name]
		slices.SortFunc(all, func(a, b zooStart) int { return int(a.firstAnswer - b.firstAnswer) })
		m := all[len(all)/2]
		fmt.Fprintf(w, "start on an empty directory\t%s\t%.1f ms to the first answer\t%.1f..%.1f ms\t\t\t\t%.0f MB resident\t\t\t\n", name,
			m.firstAnswer.Seconds()*1e3, all[0].firstAnswer.Seconds()*1e3, all[len(all)-1].firstAnswer.Seconds()*1e3, m.memory)
	}
	for _, name := range zooSystems {
		fmt.Fprintf(w, "after all rounds\t%s\t\t\t\t\t\t%.0f MB at most\t\t\t\n", name, peakMemory(servers[name].cmd.Process.Pid))
	}
	_ = w.Flush()
}

func (p *zooPlan) row(w io.Writer, c zooCell, ours, theirs zooSample) {
	m := p.median(c)
	lo, hi := m.perSecond, m.perSecond
	for _, s := range p.samples[c] {
		lo, hi = min(lo, s.perSecond), max(hi, s.perSecond)
	}
	us := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return fmt.Sprintf("%.0f", float64(d)/1e3)
	}
	ratio := func(a, b float64) string {
		if c.system != zooSystems[0] || a == 0 || b == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", a/b)
	}
	fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f..%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.what, c.system, m.perSecond, lo, hi, us(m.p50), us(m.p99), us(m.serverCPU),
		ratio(ours.perSecond, theirs.perSecond), ratio(float64(theirs.p50), float64(ours.p50)), ratio(float64(theirs.p99), float64(ours.p99)))
}

// median returns the medians of the samples of a cell, each figure for itself.
func (p *zooPlan) median(c zooCell) zooSample {
	all := p.samples[c]
	return zooSample{
		perSecond: middle(all, func(s zooSample) float64 { return s.perSecond }),
		p50:       middle(all, func(s zooSample) time.Duration { return s.p50 }),
		p99:       middle(all, func(s zooSample) time.Duration { return s.p99 }),
		serverCPU: middle(all, func(s zooSample) time.Duration { return s.serverCPU }),
	}
}

func middle[T float64 | time.Duration](all []zooSample, of func(zooSample) T) T {
	values := make([]T, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
