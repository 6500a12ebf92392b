package brokertest

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/dial"
)

// TestABrokerRunsWithEveryNumberThatItsSettingsMayHave tries the ends of what a setting accepts: those that Kafka means something special by, those that
// come near nothing, and those that are too large for anything.
func TestABrokerRunsWithEveryNumberThatItsSettingsMayHave(t *testing.T) {
	// With these values nothing can be written, as it has to be.
	stops := map[string]bool{
		"message.max.bytes=0": true, "message.max.bytes=1": true, "socket.request.max.bytes=1": true,
		"default.replication.factor=2147483647": true, "num.partitions=2147483647": true,
	}
	for _, k := range config.BrokerKeys() {
		if k.Type != config.Int && k.Type != config.Long {
			continue
		}
		for _, text := range []string{"-1", "0", "1", "2147483647", "9223372036854775807"} {
			if stops[k.Name+"="+text] || text == k.Default {
				continue
			}
			given := config.Properties{"broker.id": "0", "zookeeper.connect": zookeeperAddr}
			given[k.Name] = text
			if _, warnings, err := config.NewServer(given); err != nil || len(warnings) > 0 {
				continue // refused, or without effect
			}
			t.Run(k.Name+"="+text, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					c := Start(t, Options{Settings: map[string]string{k.Name: text}})
					cl := c.Client(t)
					createTopic(t, cl, "events", 1, nil)
					send(t, cl, "events", "n", 2)
					wantRecords(t, readAll(t, cl, "events"), numbered("n", 2)...)
				})
			})
		}
	}
}

func TestConnectionsMayBeIdleForEver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"connections.max.idle.ms": "-1"}})
		var connections atomic.Int32
		cc, err := dial.Connect("broker-0:9092", dial.ClientOptions{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			connections.Add(1)
			return c.Dialer()(ctx, addr)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		for range 3 {
			if _, err := grpc_health_v1.NewHealthClient(cc).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
			<-time.After(24 * time.Hour)
		}
		if n := connections.Load(); n != 1 {
			t.Errorf("%d connections for three calls with a day between them", n)
		}
	})
}
