package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// flipAt changes a bit of a byte of a file.
func flipAt(t *testing.T, disk *vfs.Mem, name string, at int64, bit byte) {
	t.Helper()
	f, err := disk.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= bit
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// hurt is a cluster of which segments are damaged.
type hurt struct {
	*Cluster
	t *testing.T
	o *observer
}

// segment returns the path of a segment of broker id: the n-th, or counted from the last one if n is negative.
func (h *hurt) segment(id, n int) string {
	h.t.Helper()
	files := segmentFiles(h.t, h.Cluster, events, id)
	if n < 0 {
		n += len(files)
	}
	if n >= len(files) {
		h.t.Fatalf("broker %d has %d segments", id, len(files))
	}
	return files[n]
}

// flip damages the n-th batch of a segment at a byte of that batch.
func (h *hurt) flip(id, segment, batch, at int) {
	h.t.Helper()
	name := h.segment(id, segment)
	data, err := vfs.ReadFile(h.Disk(id), name)
	if err != nil {
		h.t.Fatal(err)
	}
	rest := data
	for range batch {
		if _, rest, err = record.Split(rest); err != nil {
			h.t.Fatal(err)
		}
	}
	flipAt(h.t, h.Disk(id), name, int64(len(data)-len(rest)+at), 0x04)
}

// alike waits until the replicas have the same bytes on their disks, whatever segments they lie in.
func (h *hurt) alike(ids ...int) {
	h.t.Helper()
	join := func(id int) (out []byte) {
		for _, name := range segmentFiles(h.t, h.Cluster, events, id) {
			data, err := vfs.ReadFile(h.Disk(id), name)
			if err != nil {
				h.t.Fatal(err)
			}
			out = append(out, data...)
		}
		return out
	}
	for range 600 {
		first := join(ids[0])
		if !slices.ContainsFunc(ids, func(id int) bool { return !bytes.Equal(first, join(id)) }) && len(first) > 0 {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	h.t.Errorf("the replicas on %v differ", ids)
}

// Where fields of a batch are, in bytes.
const (
	lowOfBaseOffset = 7
	ofLength        = 10
	ofLeaderEpoch   = 15
	ofMagic         = 16
	ofRecords       = 63
)

// TestDamageIsRepaired flips bits of replicated records on disks, under load. Whoever reads there gets what was written, within a minute and without an error; in
// the end all disks hold the same bytes again, and nobody's role has changed.
func TestDamageIsRepaired(t *testing.T) {
	rows := map[string]func(h *hurt){
		"of the leader, in a finished segment": func(h *hurt) { h.flip(1, 2, 3, ofRecords) },
		"of the leader, in the active segment": func(h *hurt) { h.flip(1, -1, 0, ofRecords) },
		"of the leader, in a batch's length":   func(h *hurt) { h.flip(1, 2, 3, ofLength) },
		"of the leader, in a batch's format":   func(h *hurt) { h.flip(1, 2, 3, ofMagic) },
		"of the leader, in a batch's offset":   func(h *hurt) { h.flip(1, 2, 3, lowOfBaseOffset) },
		"of the leader, in the first segment":  func(h *hurt) { h.flip(1, 0, 0, ofRecords) },
		"of the leader, in several segments": func(h *hurt) {
			for i := range 8 {
				h.flip(1, i, i%3, ofRecords)
			}
		},
		"of the leader and a follower, in different segments": func(h *hurt) {
			h.flip(1, 2, 3, ofRecords)
			h.flip(2, 3, 1, ofRecords)
			h.read()
			h.lead(2)
		},
		"of the leader and a follower, in one segment": func(h *hurt) {
			h.flip(1, 2, 3, ofRecords)
			h.flip(2, 2, 5, ofRecords)
			h.read()
			h.lead(2)
		},
		"of all replicas, in one segment": func(h *hurt) {
			h.flip(1, 2, 3, ofRecords)
			h.flip(2, 2, 5, ofRecords)
			h.flip(0, 2, 7, ofRecords)
			h.read()
			h.lead(2)
			h.lead(0)
		},
		"of a follower that leads later": func(h *hurt) {
			h.flip(2, 2, 3, ofRecords)
			h.lead(2)
		},
		"of the leader, which a new replica copies": func(h *hurt) {
			h.flip(1, 2, 3, ofRecords)
			h.Kill(h.t, 2)
			h.NewDisk(2)
			again(h.t, h.Cluster, 2)
			h.o.awaitISR(events, 0, 1, 2)
		},
		"of the leader, which only a follower out of sync can help": func(h *hurt) {
			cut(h.Cluster, 1, 0)
			cut(h.Cluster, 2, 0)
			h.o.awaitISR(events, 1, 2)
			heal(h.Cluster, 1, 0)
			heal(h.Cluster, 2, 0)
			h.flip(1, 2, 3, ofRecords)
		},
		"of the leader, which dies meanwhile": func(h *hurt) {
			h.flip(1, 2, 3, ofRecords)
			h.flip(1, 3, 3, ofRecords)
			cl := h.Client(h.t)
			reads := make(chan struct{})
			go func() {
				defer close(reads)
				_, _ = readTo(h.t.Context(), cl)
			}()
			<-time.After(60 * time.Millisecond)
			h.Kill(h.t, 1)
			h.o.awaitISR(events, 0, 2)
			h.Restart(h.t, 1)
			h.o.awaitISR(events, 0, 1, 2)
			<-reads
			h.lead(1)
		},
		"of the offset index": func(h *hurt) {
			for i := range 3 {
				index := strings.TrimSuffix(h.segment(1, i), ".log") + ".index"
				for at := range int64(8) {
					flipAt(h.t, h.Disk(1), index, 8*int64(i)+at, 0x04)
				}
			}
		},
	}
	for name, bad := range rows {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"replica.lag.time.max.ms": "5000", "auto.leader.rebalance.enable": "false"}})
				cl := c.Client(t)
				replicated(t, cl, map[string]string{"min.insync.replicas": "2", "segment.bytes": "2048", "index.interval.bytes": "200", "file.delete.delay.ms": "1000"}, byThree...)
				h := &hurt{c, t, observe(t, c)}
				w := load(t, cl, "r")
				<-time.After(10 * time.Second)
				bad(h)
				before := h.o.state(events)
				begun := time.Now()
				readAll(t, cl, events.Topic)
				took := time.Since(begun)
				t.Logf("a consumer has read everything after %v", took)
				if took > 10*time.Second {
					t.Errorf("a consumer has read everything after %v", took)
				}
				h.o.unmoved(before.LeaderEpoch)
				h.o.awaitISR(events, 0, 1, 2)
				<-time.After(time.Second)
				w.flawless(cl)
				h.alike(0, 1, 2)
			})
		})
	}
}

// read has a consumer read everything.
func (h *hurt) read() { readAll(h.t, h.Client(h.t), events.Topic) }

// lead makes a broker lead that is in sync, and has everything read from it.
func (h *hurt) lead(id int) {
	h.t.Helper()
	var stopped []int
	for leader := int(h.o.state(events).Leader); leader != id; leader = int(h.o.state(events).Leader) {
		h.Stop(h.t, leader)
		stopped = append(stopped, leader)
		<-time.After(time.Second)
	}
	for _, other := range stopped {
		h.Restart(h.t, other)
	}
	h.o.awaitISR(events, 0, 1, 2)
	h.read()
}

// TestDamageThatNobodyCanRepair has only the damaged replica alive. Consumers are told, and given everything else; when another one is back, it is repaired.
func TestDamageThatNobodyCanRepair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "1", "segment.bytes": "1024"}, byThree...)
		h := &hurt{c, t, observe(t, c)}
		acked(t, cl, "r", 100)
		settled(t, c, events, 0, 1, 2)
		c.Stop(t, 2)
		c.Stop(t, 0)
		h.o.awaitISR(events, 1)
		h.flip(1, 2, 3, ofRecords)
		n, err := readTo(t.Context(), cl)
		if !errors.Is(err, kerr.CorruptMessage) {
			t.Errorf("behind %d records: %v", n, err)
		}
		if n == 0 || n == 100 {
			t.Errorf("%d records were read", n)
		}
		acked(t, cl, "s", 10) // and producers go on
		c.Restart(t, 2)
		h.o.awaitISR(events, 1, 2)
		<-time.After(30 * time.Second)
		if got := readAll(t, cl, events.Topic); !slices.Equal(got[:100], numbered("r", 100)) {
			t.Errorf("%d records were read", len(got))
		}
		h.alike(1, 2)
	})
}

// readTo reads from the beginning on, up to an error, and returns how many records it was given.
func readTo(ctx context.Context, cl *client.Client) (n int, err error) {
	r, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		return 0, err
	}
	defer r.Close(context.WithoutCancel(ctx))
	if err := r.Assign(events); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for rec, err := range r.Records(ctx) {
		if err == nil && string(rec.Value) != fmt.Sprint("r", n) {
			err = fmt.Errorf("record %d is %q", n, rec.Value)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
