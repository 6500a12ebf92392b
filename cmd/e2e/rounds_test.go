package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

const roundPartitions = 3

// rounds returns how often the broker is killed: OTTLA_E2E_ROUNDS, or a few times.
func rounds(t *testing.T) int {
	t.Helper()
	s := os.Getenv("OTTLA_E2E_ROUNDS")
	if s == "" {
		return 3
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRoundsOfKillNine kills the broker with SIGKILL under load on a real disk again and again, on the same data. After each start, what the
// log holds anew must be what was sent in that round, in order, without holes, with every acknowledged record at its offset. A process
// that is killed loses nothing that it wrote, whatever flush.messages says.
func TestRoundsOfKillNine(t *testing.T) {
	for _, flush := range []string{"flush.messages=1", "flush.messages=9223372036854775807"} {
		t.Run(flush, func(t *testing.T) {
			b := startBroker(t, embeddedZooKeeper(t))
			mustTool(t, nil, "topics", "--create", "--topic", "rounds", "--partitions", strconv.Itoa(roundPartitions), "--config", flush,
				"--config", "segment.bytes=1048576", "--bootstrap-server", b.addr)
			var h ledger
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			total := 0
			for round := range rounds(t) {
				r := h.begin(round)
				r.load(t, b, 200+rng.IntN(4000))
				b.restart(t)
				total += h.check(t, b.addr, r)
			}
			t.Logf("%d rounds, %d records acknowledged and found", rounds(t), total)
		})
	}
}

// ledger is what the logs are known to hold.
type ledger struct {
	ends [roundPartitions]cluster.Offset
}

// round is what one round sent.
type round struct {
	number int
	mu     sync.Mutex
	acked  [roundPartitions]map[int]cluster.Offset // sequence number to offset
}

func (h *ledger) begin(number int) *round {
	r := &round{number: number}
	for p := range r.acked {
		r.acked[p] = map[int]cluster.Offset{}
	}
	return r
}

func (r *round) value(seq int) []byte { return fmt.Appendf(nil, "%d-%d-%0100d", r.number, seq, seq) }

// load sends records to all partitions until killAfter of them are acknowledged, and kills the broker.
func (r *round) load(t *testing.T, b *server, killAfter int) {
	t.Helper()
	cl, err := client.Dial(t.Context(), b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	p, err := producer.New(cl, producer.Retries(0), producer.BatchSize(2000))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dead := make(chan struct{})
	count := 0
	acknowledged := func(part, seq int, offset cluster.Offset) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.acked[part][seq] = offset
		if count++; count == killAfter {
			b.cmd.Process.Signal(syscall.SIGKILL)
			close(dead)
		}
	}
	// After a partition's first failure nothing more is sent to it: a later record must not be there without the earlier ones.
	var failed [roundPartitions]chan struct{}
	for i := range failed {
		failed[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for part := range roundPartitions {
		wg.Go(func() {
			var once sync.Once
			for seq := 0; ; seq++ {
				select {
				case <-failed[part]:
					return
				case <-dead:
					return
				default:
				}
				if err := p.SendAsync(ctx, producer.Record{Topic: "rounds", Partition: producer.To(int32(part)), Value: r.value(seq)}, func(res producer.Result, err error) {
					if err != nil {
						once.Do(func() { close(failed[part]) })
						return
					}
					acknowledged(part, seq, res.Offset)
				}); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	p.Close(ctx)
	<-b.done
	select {
	case <-dead:
	default:
		t.Fatal("the load ended before the broker was killed")
	}
}

// check reads what the logs hold anew and returns how many acknowledged records it found.
func (h *ledger) check(t *testing.T, addr string, r *round) int {
	t.Helper()
	cl, err := client.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	found := 0
	for part := range roundPartitions {
		tp := cluster.TopicPartition{Topic: "rounds", Partition: int32(part)}
		at, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Latest})
		if err != nil || at[tp].Err != nil {
			t.Fatal(err, at[tp].Err)
		}
		from, end := h.ends[part], at[tp].Offset
		if end < from {
			t.Fatalf("%v ends at %d, and ended at %d before the round", tp, end, from)
		}
		for seq, offset := range r.acked[part] {
			if offset != from+cluster.Offset(seq) || offset >= end {
				t.Fatalf("round %d: record %d of %v was acknowledged at %d; the round began at %d and the log ends at %d", r.number, seq, tp, offset, from, end)
			}
			found++
		}
		r.compare(t, cl, tp, from, end)
		h.ends[part] = end
	}
	return found
}

// compare wants the records from one offset to another to be the round's, in order.
func (r *round) compare(t *testing.T, cl *client.Client, tp cluster.TopicPartition, from, end cluster.Offset) {
	t.Helper()
	if from == end {
		return
	}
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetNone))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.Assign(tp); err != nil {
		t.Fatal(err)
	}
	if err := c.Seek(tp, from); err != nil {
		t.Fatal(err)
	}
	next := from
	for rec, err := range c.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if want := r.value(int(next - from)); rec.Offset != next || string(rec.Value) != string(want) {
			t.Fatalf("round %d, %v: offset %d holds %.40q, want offset %d with %.40q", r.number, tp, rec.Offset, rec.Value, next, want)
		}
		if next++; next == end {
			return
		}
	}
}
