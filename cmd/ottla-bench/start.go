package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
)

// startTimes measures, on an empty data directory each time, how long it takes from the start of the process until the first record is
// acknowledged, the creation of its topic included: embedded ZooKeeper and broker in one process.
func startTimes(ctx context.Context, binary, dir string, rounds int) error {
	var took []time.Duration
	for range rounds {
		d, err := startTime(ctx, binary, dir)
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	slices.Sort(took)
	fmt.Printf("process start to first acknowledged record, %d starts on an empty directory: min %v, median %v, max %v\n",
		rounds, took[0].Round(time.Millisecond), took[rounds/2].Round(time.Millisecond), took[rounds-1].Round(time.Millisecond))
	return nil
}

func startTime(ctx context.Context, binary, dir string) (time.Duration, error) {
	data, err := os.MkdirTemp(dir, "start-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(data)
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(binary, "quickstart", "--data-dir", data, "--port", strconv.Itoa(port), "--zookeeper-port", "0")
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }()
	addr := "127.0.0.1:" + strconv.Itoa(port)
	if err := awaitPort(addr, start.Add(10*time.Second)); err != nil {
		return 0, err
	}
	cl, err := client.Dial(ctx, addr, client.BootstrapTimeout(10*time.Second), client.RetryBackoff(time.Millisecond, 5*time.Millisecond))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	res, err := admin.New(cl).CreateTopics(ctx, []admin.NewTopic{{Name: "first", Partitions: 1, ReplicationFactor: 1}}, admin.CreateOptions{Timeout: 10 * time.Second})
	if err != nil {
		return 0, err
	}
	if res[0].Err != nil {
		return 0, res[0].Err
	}
	p, err := producer.New(cl)
	if err != nil {
		return 0, err
	}
	if _, err := p.Send(ctx, producer.Record{Topic: "first", Value: []byte("first")}); err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took, p.Close(ctx)
}

func awaitPort(addr string, until time.Time) error {
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(until) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
