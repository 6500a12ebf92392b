package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

func TestDialNamesTheServersAndTheReasonWhenNobodyAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 0)
		_, err := client.Dial(t.Context(), "b1:9092,b2", client.Dialer(fc.Dialer()))
		if err == nil {
			t.Fatal("dialled a cluster without brokers")
		}
		for _, want := range []string{"connect to bootstrap servers b1:9092,b2:9092: ", "connection refused", "; is the broker running?"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not contain %q", err, want)
			}
		}
		if !errors.Is(err, kerr.NetworkException) || !client.Retriable(err) {
			t.Errorf("error %v should be a retriable NETWORK_EXCEPTION", err)
		}
	})
}

func TestDialOverTCPTellsThatTheConnectionWasRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = client.Dial(t.Context(), addr)
	want := "connect to bootstrap servers " + addr + ": dial tcp " + addr + ": connect: connection refused; is the broker running?"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestDialAsksTheNextServerWhenOneIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		servers := fc.Bootstrap()
		fc.Kill(1)
		cl, err := client.Dial(t.Context(), servers, client.Dialer(fc.Dialer()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if cl.ClusterID() != "fake-cluster" {
			t.Errorf("cluster id is %q", cl.ClusterID())
		}
		brokers, err := cl.Brokers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]client.Broker{{ID: 2, Host: "b2", Port: 9092, Rack: "r1"}}, brokers); diff != "" {
			t.Errorf("brokers (-want +got):\n%s", diff)
		}
	})
}

func TestDialAsksTheNextServerWhenOneHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.Net.Cut(fakecluster.ClientHost, fakecluster.Host(1))
		start := time.Now()
		cl, err := client.Dial(t.Context(), fc.Bootstrap(), client.Dialer(fc.Dialer()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("took %v to give up on a server that hangs", took)
		}
	})
}

// TestABrokerThatKnowsNobodyYetIsAskedAgain is about the moment in which a broker that starts answers already, and the controller has
// not told it of any broker yet.
func TestABrokerThatKnowsNobodyYetIsAskedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		asked := 0
		fc.OnMetadata = func(_ cluster.BrokerID, r *ottlapb.MetadataResponse) error {
			if asked++; asked < 3 {
				r.Brokers, r.Topics, r.ControllerId = nil, nil, -1
			}
			return nil
		}
		cl, err := client.Dial(t.Context(), "b1", client.Dialer(fc.Dialer()), client.BootstrapTimeout(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDialGoesOnTryingForTheBootstrapTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 0)
		timer := time.AfterFunc(10*time.Second, func() { fc.Start(1) })
		defer timer.Stop()
		start := time.Now()
		cl, err := client.Dial(t.Context(), "b1", client.Dialer(fc.Dialer()), client.BootstrapTimeout(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if took := time.Since(start); took < 10*time.Second || took > 15*time.Second {
			t.Errorf("connected after %v to a broker that started after 10s", took)
		}
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 0)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := client.Dial(ctx, "b1", client.Dialer(fc.Dialer()), client.BootstrapTimeout(time.Hour))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestDialRefusesAddressesThatAreNone(t *testing.T) {
	for servers, want := range map[string]string{
		"":                `no address given`,
		" , ":             `no address given`,
		"http://b1:9092":  `"http://b1:9092" is a URL, want host:port`,
		"b1:9092:9093":    `too many colons`,
		"[::1":            `missing ']'`,
		"PLAINTEXT://:90": `is a URL`,
	} {
		_, err := client.Dial(t.Context(), servers)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bootstrap servers %q: got %v, want %q", servers, err, want)
		}
	}
}

func TestDialRefusesOptionsThatMakeNoSense(t *testing.T) {
	for name, o := range map[string]client.Option{
		"request timeout":        client.RequestTimeout(0),
		"API timeout":            client.APITimeout(-1),
		"metadata max age":       client.MetadataMaxAge(0),
		"maximum retry back-off": client.RetryBackoff(time.Second, time.Millisecond),
		"bootstrap timeout":      client.BootstrapTimeout(-time.Second),
	} {
		_, err := client.Dial(t.Context(), "b1", o)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestClosedClientFailsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		cl, err := client.Dial(t.Context(), fc.Bootstrap(), client.Dialer(fc.Dialer()))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := cl.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		start := time.Now()
		_, err = cl.Topic(t.Context(), "orders")
		if !errors.Is(err, client.ErrClosed) {
			t.Errorf("topic: got %v", err)
		}
		at := map[cluster.TopicPartition]int64{{Topic: "orders"}: client.Latest}
		if r, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, at); err == nil && !errors.Is(r[cluster.TopicPartition{Topic: "orders"}].Err, client.ErrClosed) {
			t.Errorf("list offsets: got %v, %v", r, err)
		}
		if err := cl.Do(t.Context(), client.AnyBroker, "ask", func(context.Context, *client.API) error { return nil }); !errors.Is(err, client.ErrClosed) {
			t.Errorf("do: got %v", err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}
