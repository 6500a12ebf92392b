package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
)

// ours is our client against our broker, the real binary.
type ours struct{}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// serve starts ZooKeeper and the broker as processes of their own and prints the broker's address and pid.
func (ours) serve(ctx context.Context, dir string, partitions int) error {
	binary := os.Getenv("OTTLA_BENCH_BINARY")
	zkPort, err := freePort()
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	addr := "127.0.0.1:" + strconv.Itoa(port)
	zkProps, props := filepath.Join(dir, "zookeeper.properties"), filepath.Join(dir, "server.properties")
	if err := os.WriteFile(zkProps, fmt.Appendf(nil, "dataDir=%s/zk\nclientPort=%d\nmaxClientCnxns=0\nadmin.enableServer=false\n", dir, zkPort), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(props, fmt.Appendf(nil, "broker.id=0\nlisteners=PLAINTEXT://%s\nlog.dirs=%s/logs\nzookeeper.connect=127.0.0.1:%d\n", addr, dir, zkPort), 0o600); err != nil {
		return err
	}
	var procs []*exec.Cmd
	defer func() {
		for i := len(procs) - 1; i >= 0; i-- {
			_ = procs[i].Process.Signal(syscall.SIGTERM)
			_ = procs[i].Wait()
		}
	}()
	for _, args := range [][]string{{"zookeeper", zkProps}, {"broker", props}} {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "LOG_DIR="+dir+"/log")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		procs = append(procs, cmd)
	}
	cl, err := client.Dial(ctx, addr, client.BootstrapTimeout(20*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	res, err := admin.New(cl).CreateTopics(ctx, []admin.NewTopic{{Name: "bench", Partitions: int32(partitions), ReplicationFactor: 1}}, admin.CreateOptions{Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	if res[0].Err != nil {
		return res[0].Err
	}
	fmt.Println(addr, procs[1].Process.Pid)
	<-ctx.Done()
	return nil
}

func (ours) produce(ctx context.Context, j job) (outcome, error) {
	cl, err := client.Dial(ctx, j.Addr)
	if err != nil {
		return outcome{}, err
	}
	defer cl.Close()
	acks, linger := producer.AcksLeader, 2*time.Millisecond
	if j.All {
		acks = producer.AcksAll
	}
	if j.Rate > 0 {
		linger = 0
	}
	p, err := producer.New(cl, producer.WithAcks(acks), producer.BatchSize(j.BatchBytes), producer.MaxRequestSize(j.BatchBytes+4096),
		producer.Linger(linger), producer.BufferMemory(64<<20), producer.MaxInFlight(inFlight))
	if err != nil {
		return outcome{}, err
	}
	if _, err := p.Partitions(ctx, j.Topic); err != nil {
		return outcome{}, err
	}
	if j.Rate > 0 {
		return paced(ctx, p, j)
	}
	value := make([]byte, j.Size)
	var failed atomic.Int64
	done := func(_ producer.Result, err error) {
		if err != nil {
			failed.Add(1)
		}
	}
	w := startWatch()
	for range j.Records {
		if err := p.SendAsync(ctx, producer.Record{Topic: j.Topic, Value: value}, done); err != nil {
			return outcome{}, err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return outcome{}, err
	}
	o := w.outcome(int64(j.Records), int64(j.Records)*int64(j.Size))
	if n := failed.Load(); n > 0 {
		return outcome{}, fmt.Errorf("%d records failed", n)
	}
	return o, p.Close(ctx)
}

func (ours) consume(ctx context.Context, j job) (outcome, error) {
	cl, err := client.Dial(ctx, j.Addr)
	if err != nil {
		return outcome{}, err
	}
	defer cl.Close()
	c, err := consumer.New(cl, consumer.MaxPartitionFetchBytes(j.BatchBytes))
	if err != nil {
		return outcome{}, err
	}
	if err := c.AssignTopics(ctx, j.Topic); err != nil {
		return outcome{}, err
	}
	if err := c.SeekToBeginning(); err != nil {
		return outcome{}, err
	}
	var n, size int64
	w := startWatch()
	for r, err := range c.Records(ctx) {
		if err != nil {
			return outcome{}, err
		}
		n++
		size += int64(len(r.Value))
		if n == int64(j.Records) {
			break
		}
	}
	return w.outcome(n, size), c.Close(ctx)
}
