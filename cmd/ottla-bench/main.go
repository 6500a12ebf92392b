// Command ottla-bench measures Ottla next to two peers, in one run on one machine, client and server as separate processes:
//
//	bare    the same batches over a grpc-go stream with the same settings and nobody behind it: what the transport can do
//	franz   the franz-go client against its kfake broker with data on disk: the fastest pure-Go pair (a fake: no replication, no recovery)
//	ottla   our producer and consumer against our broker, acks=1
//
// Every figure is the median of several rounds in which the three alternate. Before each timed part the program makes the guest's
// memory warm, because on a virtual machine cold pages cap any log at a fraction of its speed. It prints records/s, MB/s, CPU
// seconds per GB on both sides, the broker's peak memory, and the ratios ottla/bare and ottla/franz.
//
// With -failover it measures how long failovers take (see failoverPlan).
//
// With -replication it measures what replication costs (see [plan.replication]).
//
// With -zookeeper it measures the embedded ZooKeeper next to Apache's (see zooPlan).
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// job is what one client process does; it travels as JSON on the command line.
type job struct {
	System     string
	Addr       string
	Topic      string
	Partitions int
	Records    int
	Size       int
	BatchBytes int
	All        bool    // acks=all instead of acks=1
	Rate       float64 // records per second to send, one at a time; 0 for as fast as it goes
}

// outcome is what a client process reports on its standard output.
type outcome struct {
	Records int64
	Bytes   int64   // of values
	Seconds float64 // first record to last answer
	CPU     float64 // user and system seconds of the client in that time
	P50     float64 // milliseconds from sending a record to its answer, at a given rate
	P99     float64
}

// system is one of the three.
type system interface {
	// serve runs the server until ctx ends; it prints its address as its first line.
	serve(ctx context.Context, dir string, partitions int) error
	// produce and consume run in the client process.
	produce(ctx context.Context, j job) (outcome, error)
	consume(ctx context.Context, j job) (outcome, error)
}

var systems = map[string]system{"bare": bare{}, "franz": franz{}, "ottla": ours{}}

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 2 && (os.Args[1] == "-serve" || os.Args[1] == "-client") {
		err = role(ctx, os.Args[1:])
	} else {
		p, zoo, zookeeper, replication := plan{}, zooPlan{}, false, false
		fail, failing := failoverPlan{}, false
		flag.IntVar(&p.rounds, "rounds", 3, "rounds; the median is reported")
		flag.Float64Var(&p.scale, "scale", 1, "multiplies the number of records (5,000,000 of 100 B, 1,000,000 of 1 KiB)")
		flag.StringVar(&p.only, "only", "", "comma-separated systems to run: bare,franz,ottla (default all)")
		flag.StringVar(&p.dir, "dir", "", "where data goes (default: a temporary directory, removed at the end)")
		flag.StringVar(&p.binary, "ottla", "bin/ottla", "the binary to measure")
		flag.StringVar(&p.sizes, "sizes", "100,1024", "value sizes in bytes")
		flag.StringVar(&p.partitions, "partitions", "1,6", "partition counts")
		flag.IntVar(&p.batch, "batch", 1<<20, "batch.size of the clients in bytes")
		flag.IntVar(&p.warmMiB, "warm", 1280, "MiB of page cache to make warm before each timed part; 0 for none")
		flag.StringVar(&p.profile, "profile", "", "directory for CPU profiles of our client")
		flag.IntVar(&p.fillGiB, "fill", 0, "GiB of page cache to fill once before everything, so that pages come from reclaim and not cold from the host")
		flag.IntVar(&p.starts, "starts", 0, "measure only this many starts on an empty directory")
		flag.BoolVar(&zookeeper, "zookeeper", false, "compare the embedded ZooKeeper with Apache's instead (uses -rounds, -scale, -dir, -ottla)")
		flag.BoolVar(&replication, "replication", false, "compare acks=all on three brokers with acks=1 on one of them instead (uses -rounds, -scale, -batch, -warm, -fill, -profile, -dir, -ottla)")
		flag.StringVar(&zoo.classpath, "apache-classpath", debianClasspath(), "class path of Apache ZooKeeper, for -zookeeper")
		flag.BoolVar(&failing, "failover", false, "measure failovers of three brokers instead (uses -runs, -dir, -ottla)")
		flag.IntVar(&fail.runs, "runs", 30, "how often to do each fault, for -failover")
		flag.StringVar(&fail.only, "fault", "", "only the faults whose name contains this, for -failover")
		flag.StringVar(&fail.partitions, "failover-partitions", "", "comma-separated numbers of partitions with which the controller is killed, for -failover")
		flag.Parse()
		switch {
		case failing:
			fail.dir, fail.binary = p.dir, p.binary
			err = fail.run(ctx)
		case replication:
			err = p.replication(ctx)
		case zookeeper:
			zoo.rounds, zoo.scale, zoo.dir, zoo.binary = p.rounds, p.scale, p.dir, p.binary
			err = zoo.run(ctx)
		default:
			err = p.run(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ottla-bench:", err)
		return 1
	}
	return 0
}

// role is what this program does as a server or client process of a run.
func role(ctx context.Context, args []string) error {
	if args[0] == "-serve" {
		var partitions int
		if _, err := fmt.Sscan(args[3], &partitions); err != nil {
			return err
		}
		return systems[args[1]].serve(ctx, args[2], partitions)
	}
	var j job
	if err := json.Unmarshal([]byte(args[2]), &j); err != nil {
		return err
	}
	if path := os.Getenv("OTTLA_BENCH_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	do := systems[j.System].produce
	if args[1] == "consume" {
		do = systems[j.System].consume
	}
	o, err := do(ctx, j)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}
