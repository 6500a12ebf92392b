package peer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/ottlapb"
)

// answerer answers pings, as the broker that it says it is.
type answerer struct {
	ottlapb.UnimplementedPeerServiceServer
	id   int32
	asks chan *ottlapb.PingRequest
}

func (a *answerer) Ping(_ context.Context, r *ottlapb.PingRequest) (*ottlapb.PingResponse, error) {
	a.asks <- r
	return &ottlapb.PingResponse{BrokerId: a.id}, nil
}

// answers makes broker 2 answer pings as the given one, until stopped.
func (w *town) answers(id int32) (asks chan *ottlapb.PingRequest, stop func()) {
	w.t.Helper()
	l, err := w.net.Listen("host-2:9092")
	if err != nil {
		w.t.Fatal(err)
	}
	a := &answerer{id: id, asks: make(chan *ottlapb.PingRequest, 10)}
	g := grpc.NewServer(dial.ServerOptions{}.GRPC()...)
	if id >= 0 {
		ottlapb.RegisterPeerServiceServer(g, a)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(l) })
	return a.asks, sync.OnceFunc(func() { g.Stop(); serving.Wait() })
}

func TestPings(t *testing.T) {
	inTown(t, func(w *town) {
		w.know(2, 1, 2)
		line := w.peers.Line(2)
		defer func() { line.Close() }()
		ping := func() error {
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
			defer cancel()
			err := line.Ping(ctx, contact.Report{Lost: []contact.Lost{{Broker: 3, Loss: contact.Refused}, {Broker: 4, Loss: contact.Silent}}, Stalled: true})
			if err != nil {
				line.Close() // as its user does
				line = w.peers.Line(2)
			}
			return err
		}
		if err := ping(); !errors.Is(err, contact.ErrRefused) {
			t.Errorf("nobody listens: %v", err)
		}
		asks, stop := w.answers(2)
		if err := ping(); err != nil {
			t.Fatal(err)
		}
		want := &ottlapb.PingRequest{BrokerId: 1, Silent: []*ottlapb.SilentBroker{{BrokerId: 3, Refused: true}, {BrokerId: 4}}, DiskStalled: true}
		if d := cmp.Diff(want, <-asks, protocmp.Transform()); d != "" {
			t.Error(d)
		}

		w.net.Cut("broker-1", "host-2")
		start := time.Now()
		if err := ping(); err == nil || errors.Is(err, contact.ErrRefused) || time.Since(start) != time.Second {
			t.Errorf("cut off: %v after %v", err, time.Since(start))
		}
		w.net.Heal("broker-1", "host-2")
		if err := ping(); err != nil {
			t.Fatal(err)
		}

		// A connection that breaks is noticed while nothing is asked.
		broken := make(chan time.Duration)
		start = time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			line.Broken(ctx)
			broken <- time.Since(start)
		}()
		stop()
		if d := <-broken; d != 0 {
			t.Errorf("noticed after %v", d)
		}

		// A proxy accepts and hangs up.
		l, err := w.net.Listen("host-2:9092")
		if err != nil {
			t.Fatal(err)
		}
		var accepting sync.WaitGroup
		accepting.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		})
		if err := ping(); err == nil {
			t.Error("the connection that broke is not there any more")
		}
		if err := ping(); !errors.Is(err, contact.ErrRefused) {
			t.Errorf("a connection that ends without a word: %v", err)
		}
		l.Close()
		accepting.Wait()

		_, stop = w.answers(7)
		if err := ping(); err == nil || errors.Is(err, contact.ErrRefused) {
			t.Errorf("another broker at that address: %v", err)
		}
		stop()
		_, stop = w.answers(-1) // a broker that does not know the call
		if err := ping(); err != nil {
			t.Errorf("any answer is a sign of life: %v", err)
		}
		stop()
	})
}
