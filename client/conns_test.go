package client

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
)

func TestConnectionsAreKeptApartAndRetired(t *testing.T) {
	c := newConns(&config{})
	control, err := c.get("b1:9092", LaneControl)
	if err != nil {
		t.Fatal(err)
	}
	bulk, err := c.get("b1:9092", LaneProduce)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.get("b1:9092", LaneControl)
	if err != nil {
		t.Fatal(err)
	}
	if control == bulk || control != again {
		t.Error("there should be one connection for each lane")
	}
	c.retire(map[string]bool{"b1:9092": true})
	c.retire(map[string]bool{})
	c.retire(map[string]bool{"b1:9092": true}) // it was missing for a moment only
	c.retire(map[string]bool{})
	if control.GetState() == connectivity.Shutdown {
		t.Error("closed the connection to a broker that was missing in one answer")
	}
	c.retire(map[string]bool{})
	if control.GetState() != connectivity.Shutdown || bulk.GetState() != connectivity.Shutdown {
		t.Error("kept the connections to a broker that is gone")
	}
	if fresh, err := c.get("b1:9092", LaneControl); err != nil || fresh == control {
		t.Errorf("a broker that has come back: %v", err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if _, err := c.get("b1:9092", LaneControl); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

// TestABrokerThatIsBackIsReachedAtOnce: gRPC tries again by itself once in a second only, and so long a broker that leads again would get nothing.
func TestABrokerThatIsBackIsReachedAtOnce(t *testing.T) {
	for i := range 10 {
		synctest.Test(t, func(t *testing.T) {
			net := memnet.New()
			c := &Client{conns: newConns(&config{dialer: net.Dialer("client")}), meta: &metadata{wake: make(chan struct{}, 1)}}
			c.meta.view.Store(&view{brokers: []Broker{{ID: 1, Host: "b1", Port: 9092}}})
			defer func() { _ = c.conns.close() }()
			if _, _, err := c.OpenProduce(t.Context(), 1); err == nil {
				t.Fatal("nobody is there")
			}
			<-time.After(5*time.Second + time.Duration(i)*100*time.Millisecond)
			l, err := net.Listen("b1:9092")
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer(dial.ServerOptions{}.GRPC()...)
			ottlapb.RegisterProduceServiceServer(s, ottlapb.UnimplementedProduceServiceServer{})
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			defer func() { s.Stop(); <-done }()
			back := time.Now()
			for {
				if _, _, err := c.OpenProduce(t.Context(), 1); err == nil {
					break
				}
				<-time.After(50 * time.Millisecond)
			}
			if d := time.Since(back); d > 100*time.Millisecond {
				t.Errorf("reached after %v", d)
			}
		})
	}
}
