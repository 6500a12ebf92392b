package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/proto/dial"
)

// runHealthcheck asks a broker, or ZooKeeper, whether it is ready: for containers, which have no other client inside. The exit code is the answer.
func runHealthcheck(ctx context.Context, args []string, std streams) int {
	set := flags.New("Asks a broker, or ZooKeeper, whether it is ready; the exit code is 0 if it is.")
	bootstrap := set.Value("bootstrap-server", flags.String, "host:port", "The broker.").Default("localhost:9092")
	zookeeper := set.Value("zookeeper", flags.String, "host:port", "Ask this ZooKeeper server instead.")
	timeout := set.Value("timeout-ms", flags.Long, "ms", "How long to wait.").Default("5000")
	if err := set.Parse(args); err != nil {
		return usageError(set, err, std)
	}
	if set.Given("help") {
		set.PrintUsage(std.err, "")
		return 1
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(timeout.Int())*time.Millisecond)
	defer cancel()
	addr, check := bootstrap.Text(), brokerHealth
	if zookeeper.Given() {
		addr, check = zookeeper.Text(), zooKeeperHealth
	}
	if err := check(ctx, addr); err != nil {
		fmt.Fprintf(std.err, "%s is not ready: %v\n", addr, err)
		return 1
	}
	fmt.Fprintf(std.out, "%s is ready\n", addr)
	return 0
}

// brokerHealth asks the standard health service of gRPC.
func brokerHealth(ctx context.Context, addr string) error {
	cc, err := dial.Connect(addr, dial.ClientOptions{ClientID: "healthcheck"})
	if err != nil {
		return err
	}
	defer cc.Close()
	answer, err := grpc_health_v1.NewHealthClient(cc).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if s := answer.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("the broker says %s", s)
	}
	return nil
}

// zooKeeperHealth sends the four letters srvr.
func zooKeeperHealth(ctx context.Context, addr string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 64<<10))
	if err != nil {
		return err
	}
	if !strings.Contains(string(answer), "Mode:") {
		return fmt.Errorf("the answer to srvr is %q", answer)
	}
	return nil
}
