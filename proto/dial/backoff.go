package dial

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// ConnectTimeout is how long a connection may take to be made, before another one is tried, unless [ClientOptions] says otherwise
// (socket.connection.setup.timeout.ms).
const ConnectTimeout = 10 * time.Second

// BrokerConnectTimeout is the same between brokers: they are close to each other, and what began while one of them was cut off, frozen or not
// listening yet must not hold up replication and failover when that is over.
const BrokerConnectTimeout = 2 * time.Second

// connectParams are Kafka's reconnect.backoff.ms and reconnect.backoff.max.ms, and how long one attempt may take.
func connectParams(timeout time.Duration) grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: timeout,
	}
}
