package history

import (
	"bytes"
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Replica is one copy of a partition.
type Replica struct {
	// Name says whose it is.
	Name string
	// Log is the content of its segments, in order, one after the other. Where one segment ends and the next begins is each broker's own business.
	Log []byte
}

// CompareLogs wants every replica to have all records below the high watermark, in the same bytes, without gaps. What is beyond it may differ.
// Replicas must begin at the same offset.
func CompareLogs(tp cluster.TopicPartition, highWatermark cluster.Offset, replicas ...Replica) []Anomaly {
	var found []Anomaly
	report := func(k Kind, format string, args ...any) {
		found = append(found, Anomaly{k, tp, fmt.Sprintf(format, args...)})
	}
	var first []byte
	for i, r := range replicas {
		size, end, err := below(r.Log, highWatermark)
		switch {
		case err != nil:
			report(BrokenLog, "%s: %v", r.Name, err)
		case end < highWatermark:
			report(DifferentReplicas, "%s ends at offset %d, below the high watermark %d", r.Name, end, highWatermark)
		}
		if i == 0 {
			first = r.Log[:size]
			continue
		}
		if got := r.Log[:size]; !bytes.Equal(got, first) {
			report(DifferentReplicas, "%s has %d bytes below the high watermark %d and %s has %d; the first that differs is at position %d",
				replicas[0].Name, len(first), highWatermark, r.Name, len(got), common(first, got))
		}
	}
	return found
}

// common returns how many bytes two slices begin with.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// below returns how many bytes of a log hold the batches that begin below an offset, and the offset behind them. An error says where the log makes no
// sense; what is in front of that place counts.
func below(log []byte, limit cluster.Offset) (size int, end cluster.Offset, err error) {
	for rest := log; len(rest) > 0; {
		batch, after, err := record.Split(rest)
		switch {
		case err != nil:
			return size, end, fmt.Errorf("at position %d: %w", size, err)
		case cluster.Offset(batch.BaseOffset()) >= limit:
			return size, end, nil
		case size > 0 && cluster.Offset(batch.BaseOffset()) != end:
			return size, end, fmt.Errorf("at position %d: offset %d follows offset %d", size, batch.BaseOffset(), end-1)
		case !batch.CheckCRC():
			return size, end, fmt.Errorf("at position %d: the checksum of the batch at offset %d is wrong", size, batch.BaseOffset())
		}
		size, end, rest = size+batch.Length(), cluster.Offset(batch.NextOffset()), after
	}
	return size, end, nil
}
