package txn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk/znode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// block returns the n-th block.
func block(n int64) znode.ProducerIDBlock {
	first := cluster.ProducerID(n * znode.ProducerIDBlockSize)
	return znode.ProducerIDBlock{Start: first, End: first + znode.ProducerIDBlockSize - 1}
}

// source returns ids that end with the test.
func source(t *testing.T, claim Claim) *ProducerIDs {
	p := NewProducerIDs(claim, hclog.NewNullLogger())
	t.Cleanup(p.Close)
	return p
}

func TestIDsComeOnceAndBlocksComeBeforeTheyAreNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var claims atomic.Int64
		p := source(t, func(context.Context) (znode.ProducerIDBlock, error) {
			<-time.After(20 * time.Millisecond) // the way to ZooKeeper, in virtual time
			return block(claims.Add(1) - 1), nil
		})
		from := time.Now()
		for want := range cluster.ProducerID(5000) {
			id, err := p.Next(t.Context())
			if err != nil || id != want {
				t.Fatalf("id %d, %v, want %d", id, err, want)
			}
			switch blocks := int64(want)/znode.ProducerIDBlockSize + 1; {
			case want%znode.ProducerIDBlockSize < 899:
				if n := claims.Load(); n > blocks {
					t.Fatalf("%d blocks were claimed for %d ids", n, want+1)
				}
			case want%znode.ProducerIDBlockSize == 899:
				synctest.Wait()
				<-time.After(20 * time.Millisecond) // in virtual time: the next block comes while there are ids left
				synctest.Wait()
				if n := claims.Load(); n != blocks+1 {
					t.Fatalf("%d blocks were claimed for %d ids", n, want+1)
				}
			}
		}
		if took := time.Since(from); took != 20*time.Millisecond+5*20*time.Millisecond {
			t.Errorf("waited %v: only the first block is waited for", took)
		}
	})
}

func TestConcurrentCallersGetDifferentIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var claims, running atomic.Int64
		p := source(t, func(context.Context) (znode.ProducerIDBlock, error) {
			if running.Add(1) > 1 {
				t.Error("two claims at once")
			}
			defer running.Add(-1)
			<-time.After(time.Millisecond)
			n := claims.Add(1)
			if n%3 == 0 {
				return znode.ProducerIDBlock{}, errors.New("lost; the block is gone")
			}
			return block(n), nil
		})
		var mu sync.Mutex
		seen := map[cluster.ProducerID]bool{}
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				for range 200 {
					<-time.After(time.Duration(rand.IntN(1000)) * time.Microsecond)
					id, err := p.Next(t.Context())
					mu.Lock()
					if err != nil || seen[id] {
						t.Errorf("id %d twice, or %v", id, err)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
		wait.Wait()
	})
}

func TestWithoutZooKeeperTheAnswerComesSoonAndIDsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		p := source(t, func(context.Context) (znode.ProducerIDBlock, error) {
			if away.Load() {
				return znode.ProducerIDBlock{}, errors.New("zk: connection lost")
			}
			return block(7), nil
		})
		from := time.Now()
		_, err := p.Next(t.Context())
		if !errors.Is(err, kerr.CoordinatorLoadInProgress) || !strings.Contains(fmt.Sprint(err), "connection lost") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(from); took != patience {
			t.Errorf("answered after %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("went home"))
		if _, err := p.Next(ctx); err == nil || err.Error() != "went home" {
			t.Errorf("got %v", err)
		}
		away.Store(false)
		<-time.After(lastBackoff)
		from = time.Now()
		if id, err := p.Next(t.Context()); err != nil || id != 7000 || time.Since(from) > 0 {
			t.Errorf("got %d, %v after %v", id, err, time.Since(from))
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProducerIDs(func(ctx context.Context) (znode.ProducerIDBlock, error) {
			<-ctx.Done()
			return znode.ProducerIDBlock{}, ctx.Err()
		}, hclog.NewNullLogger())
		result := make(chan error, 1)
		go func() {
			_, err := p.Next(t.Context())
			result <- err
		}()
		synctest.Wait()
		p.Close()
		if err := <-result; !errors.Is(err, kerr.CoordinatorNotAvailable) {
			t.Errorf("got %v", err)
		}
		if _, err := p.Next(t.Context()); !errors.Is(err, kerr.CoordinatorNotAvailable) {
			t.Errorf("after Close: %v", err)
		}
	})
}
