package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

func TestDoRepeatsEveryRetriableCodeAndNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cl := dialFake(t, fakecluster.New(t, 1))
		for code := kerr.Code(-1); code < 130; code++ {
			if code == kerr.None {
				continue
			}
			calls := 0
			err := cl.Do(t.Context(), client.AnyBroker, "ask", func(context.Context, *client.API) error {
				if calls++; calls < 3 {
					return code.Err()
				}
				return nil
			})
			if code.Retriable() != (err == nil) || code.Retriable() != (calls == 3) {
				t.Errorf("%v: %d calls, error %v", code, calls, err)
			}
			if err != nil && !errors.Is(err, code) {
				t.Errorf("%v: the error is %v", code, err)
			}
		}
	})
}

func TestDoGivesUpAfterTheAPITimeoutWithTheLastError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cl := dialFake(t, fakecluster.New(t, 1), client.APITimeout(20*time.Second))
		start, calls := time.Now(), 0
		err := cl.Do(t.Context(), client.AnyBroker, "list things", func(context.Context, *client.API) error {
			calls++
			return kerr.CoordinatorLoadInProgress.Err()
		})
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if calls < 18 || calls > 30 {
			t.Errorf("%d calls; at 100 ms doubling to 1 s there should be about 22", calls)
		}
		var e *client.Error
		if !errors.As(err, &e) || e.Op != "list things" || e.Broker != 1 || !errors.Is(err, kerr.CoordinatorLoadInProgress) || !e.Retriable() {
			t.Errorf("got %v", err)
		}
	})
}

func TestDoThatIsCutOffInAnAttemptSaysWhyItWasTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cl := dialFake(t, fakecluster.New(t, 1), client.APITimeout(20*time.Second))
		// The first attempt fails for a reason, all others get no answer.
		ask := func(ctx context.Context, failures int) error {
			return cl.Do(ctx, client.AnyBroker, "ask", func(ctx context.Context, _ *client.API) error {
				if failures--; failures >= 0 {
					return kerr.NotController.With("broker 1 has resigned")
				}
				<-ctx.Done()
				return status.FromContextError(ctx.Err()).Err()
			})
		}
		const why = "; the attempt before failed with: NOT_CONTROLLER: broker 1 has resigned"
		if err := ask(t.Context(), 1); !errors.Is(err, kerr.RequestTimedOut) || err.Error() != "ask, broker 1: REQUEST_TIMED_OUT: no answer within 20s"+why {
			t.Errorf("got %v", err)
		}
		if err := ask(t.Context(), 0); !errors.Is(err, kerr.RequestTimedOut) || err.Error() != "ask, broker 1: REQUEST_TIMED_OUT: no answer within 20s" {
			t.Errorf("at the first attempt: got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := ask(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || client.Retriable(err) || err.Error() != "ask, broker 1: context deadline exceeded"+why {
			t.Errorf("with a deadline of the caller: got %v", err)
		}
	})
}

func TestDoCutsOffABrokerThatDoesNotAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cl := dialFake(t, fakecluster.New(t, 1), client.RequestTimeout(3*time.Second))
		start, calls := time.Now(), 0
		err := cl.Do(t.Context(), client.AnyBroker, "ask", func(ctx context.Context, _ *client.API) error {
			if calls++; calls == 2 {
				return nil
			}
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		})
		if err != nil || time.Since(start) < 3*time.Second || time.Since(start) > 4*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cl := dialFake(t, fakecluster.New(t, 1))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, cancel)
		start := time.Now()
		err := cl.Do(ctx, client.AnyBroker, "ask", func(ctx context.Context, _ *client.API) error { return kerr.RequestTimedOut.Err() })
		if err == nil || time.Since(start) != 2500*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestDoFollowsTheController(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 3)
		cl := dialFake(t, fc)
		fc.SetController(3) // the client still believes in 1
		var asked []cluster.BrokerID
		err := cl.Do(t.Context(), client.Controller, "create", func(ctx context.Context, api *client.API) error {
			asked = append(asked, api.Broker)
			r, err := api.Topics.CreateTopics(ctx, &ottlapb.CreateTopicsRequest{Topics: []*ottlapb.CreatableTopic{{Name: "x", NumPartitions: 1}}})
			if err != nil {
				return err
			}
			return kerr.Code(r.Topics[0].ErrorCode).Err()
		})
		if err != nil || asked[0] != 1 || asked[len(asked)-1] != 3 {
			t.Errorf("asked %v: %v", asked, err)
		}
	})
}

func TestDoWaitsForAControllerToBeKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.SetController(cluster.NoBroker)
		cl := dialFake(t, fc)
		timer := time.AfterFunc(4*time.Second, func() { fc.SetController(1) })
		defer timer.Stop()
		start := time.Now()
		err := cl.Do(t.Context(), client.Controller, "ask", func(context.Context, *client.API) error { return nil })
		if err != nil || time.Since(start) > 7*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestDoReachesABrokerThatHasRestarted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		cl := dialFake(t, fc)
		fc.Kill(1)
		timer := time.AfterFunc(3*time.Second, func() { fc.Start(1) })
		defer timer.Stop()
		err := cl.Do(t.Context(), client.OnBroker(1), "ask", func(ctx context.Context, api *client.API) error {
			_, err := api.Metadata.DescribeCluster(ctx, &ottlapb.DescribeClusterRequest{})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestTransportKnowsWhatGRPCMeans(t *testing.T) {
	for code, want := range map[codes.Code]kerr.Code{
		codes.Unavailable:       kerr.NetworkException,
		codes.Internal:          kerr.NetworkException,
		codes.Unknown:           kerr.NetworkException,
		codes.DeadlineExceeded:  kerr.RequestTimedOut,
		codes.Unauthenticated:   kerr.SASLAuthenticationFailed,
		codes.PermissionDenied:  kerr.ClusterAuthorizationFailed,
		codes.Unimplemented:     kerr.UnsupportedVersion,
		codes.InvalidArgument:   kerr.InvalidRequest,
		codes.ResourceExhausted: kerr.ThrottlingQuotaExceeded,
	} {
		err := client.Transport(t.Context(), "b1:9092", status.Error(code, "because"))
		if kerr.CodeOf(err) != want || err.Error() != "b1:9092: because" {
			t.Errorf("%v: got %v with %v, want %v", code, err, kerr.CodeOf(err), want)
		}
		if again := client.Transport(t.Context(), "b2:9092", fmt.Errorf("open: %w", err)); kerr.CodeOf(again) != want {
			t.Errorf("%v twice: %v", code, again)
		}
	}
	large := client.Transport(t.Context(), "b1:9092", status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 4)"))
	if !errors.Is(large, kerr.MessageTooLarge) {
		t.Errorf("too large: %v", large)
	}
	if err := client.Transport(t.Context(), "b1:9092", io.EOF); !errors.Is(err, kerr.NetworkException) || err.Error() != "b1:9092: the broker ended the stream" {
		t.Errorf("end of stream: %v", err)
	}
	if err := client.Transport(t.Context(), "b1:9092", nil); err != nil {
		t.Errorf("no error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Transport(ctx, "b1:9092", status.Error(codes.Canceled, "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestErrorSaysWhatWhereAndWhy(t *testing.T) {
	err := &client.Error{Op: "produce to", Broker: 2, TopicPartition: cluster.TopicPartition{Topic: "orders", Partition: 3}, Err: kerr.NotEnoughReplicas.With("1 of 2")}
	if want := "produce to orders-3, broker 2: NOT_ENOUGH_REPLICAS: 1 of 2"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if !err.Retriable() || !errors.Is(err, kerr.NotEnoughReplicas) {
		t.Error("should be a retriable NOT_ENOUGH_REPLICAS")
	}
	for _, final := range []error{nil, client.ErrClosed, context.Canceled, fmt.Errorf("%w: %w", context.DeadlineExceeded, kerr.RequestTimedOut), errors.New("x")} {
		if client.Retriable(final) {
			t.Errorf("%v is retriable", final)
		}
	}
}

func TestBackoffDoublesUpToItsMaximumWithJitter(t *testing.T) {
	b := client.Backoff{First: 100 * time.Millisecond, Max: time.Second}
	for attempt, middle := range map[int]time.Duration{1: 100, 2: 200, 3: 400, 4: 800, 5: 1000, 6: 1000, 1000000: 1000} {
		middle *= time.Millisecond
		seen := map[time.Duration]bool{}
		for range 100 {
			d := b.Wait(attempt)
			seen[d] = true
			if d < middle*8/10 || d > middle*12/10 {
				t.Fatalf("attempt %d: %v is not within 20 %% of %v", attempt, d, middle)
			}
		}
		if len(seen) < 10 {
			t.Errorf("attempt %d: only %d different waits of 100", attempt, len(seen))
		}
	}
	if d := (client.Backoff{}).Wait(3); d != 0 {
		t.Errorf("no back-off waits %v", d)
	}
}

// A broker that is gone is named by the others until the controller has told them. It is asked once, not with every third call.
func TestDoAsksAnotherBrokerWhenOneDoesNotAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := fakecluster.New(t, 3)
		f.OnMetadata = func(_ cluster.BrokerID, r *ottlapb.MetadataResponse) error {
			if len(r.Brokers) < 3 {
				r.Brokers = append(r.Brokers, &ottlapb.Node{Id: 2, Host: fakecluster.Host(2), Port: 9092})
			}
			return nil
		}
		cl := dialFake(t, f)
		f.Kill(2)
		asked := map[cluster.BrokerID]int{}
		ask := func(calls int) {
			for range calls {
				err := cl.Do(t.Context(), client.AnyBroker, "ask", func(ctx context.Context, api *client.API) error {
					asked[api.Broker]++
					_, err := api.Metadata.DescribeCluster(ctx, &ottlapb.DescribeClusterRequest{})
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		start := time.Now()
		ask(60)
		if took := time.Since(start); asked[2] > 1 || asked[1] < 10 || asked[3] < 10 || took > 150*time.Millisecond {
			t.Errorf("60 calls took %v and asked %v", took, asked)
		}
		f.Start(2)
		<-time.After(15 * time.Second)
		asked = map[cluster.BrokerID]int{}
		ask(60)
		if asked[2] < 10 {
			t.Errorf("after broker 2 had come back 60 calls asked %v", asked)
		}
	})
}
