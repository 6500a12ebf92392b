package producer

import (
	"sync"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// batch is one record batch on its way through the producer:
//
//	open ──full, taken──► closed ──finish──► sealed ──sent──► in flight ──answer──► done
//	                        ▲                                    │
//	                        └───────── retriable error ──────────┘
//
// Open, it belongs to its partition's lock. From the moment it is taken off the partition it belongs to the sender, and from the answer on
// to whoever handles the answer; only calls and reported stay under the partition's lock, because the housekeeper may give a batch
// that is in flight its outcome. The buffer goes back to its pool when the batch is done and gRPC has dropped its own reference, never
// before, so that no byte of it can end up in another message.
type batch struct {
	part     *partition
	builder  *record.Builder // while open and closed
	buf      *[]byte         // the builder's buffer, from wire.Pool
	reserved int64           // bytes of the budget

	first     uint64 // the position of its first record among all that the partition took, from 1
	created   time.Time
	createdMs int64
	count     int
	calls     []call // by index; records without a callback have none
	reported  bool   // the outcome has been given out

	attempts int // how often it was taken to be sent; under the partition's lock
	taken    int // its size when it was last taken; likewise

	// With idempotence, under the partition's lock, see numbering.
	numbered bool // it has been taken to be sent, and has the three below; otherwise they are -1
	id       cluster.ProducerID
	epoch    int16
	sequence int32 // of its first record
	doubt    bool  // an attempt to send it may have brought it into the log
	refused  bool  // its numbers were not the next ones
	stale    bool  // data has other numbers
	large    bool  // a request that it was in was too large

	data  record.Batch // once sealed
	owner mem.Buffer   // of data
}

// call is what a record's sender wants to be told.
type call struct {
	f         func(Result, error)
	index     int32
	timestamp int64
}

// callLists are the lists of calls of batches that are done; growing a new one for every batch would cost more than the records.
var callLists = sync.Pool{New: func() any { return new([]call) }}

// dropCalls ends the use of a batch's list.
func (b *batch) dropCalls() {
	if b.calls != nil {
		clear(b.calls)
		l := b.calls[:0]
		callLists.Put(&l)
		b.calls = nil
	}
}

// newBatch opens a batch with room for size bytes, which have been reserved.
func newBatch(p *partition, size int) *batch {
	buf := wire.Pool.Get(size)
	now := time.Now()
	return &batch{
		part: p, builder: record.NewBuilder(*buf, size), buf: buf, reserved: int64(size),
		first: p.accepted + 1, created: now, createdMs: now.UnixMilli(),
		id: cluster.NoProducerID, epoch: -1, sequence: -1,
	}
}

// append adds a record if it fits. The clock of records without a timestamp is the batch's creation plus the monotonic time since, which is
// cheaper than the wall clock and as exact over the short life of a batch.
func (b *batch) append(r *Record, f func(Result, error)) bool {
	var ms int64
	switch {
	case !r.Timestamp.IsZero():
		ms = r.Timestamp.UnixMilli()
	case b.count == 0:
		ms = b.createdMs
	default:
		ms = b.createdMs + time.Since(b.created).Milliseconds()
	}
	if !b.builder.Append(ms, r.Key, r.Value, r.Headers) {
		return false
	}
	if f != nil {
		if b.calls == nil {
			b.calls = *callLists.Get().(*[]call)
		}
		b.calls = append(b.calls, call{f: f, index: int32(b.count), timestamp: ms})
	}
	b.count++
	return true
}

// size is what the batch takes in a request.
func (b *batch) size() int {
	if b.data != nil {
		return len(b.data)
	}
	return b.builder.EstimatedSize()
}

// seal makes the batch ready to be sent. A batch that is sent again stays as it is, unless it has got other numbers.
func (b *batch) seal(cfg *config) error {
	if b.data != nil {
		if b.stale {
			b.restamp()
		}
		return nil
	}
	data, err := b.builder.Finish(cfg.codec, cfg.level, int64(b.id), b.epoch, b.sequence, false)
	if err != nil {
		return err
	}
	b.own(data)
	return nil
}

// restamp writes new numbers into a copy of the batch: gRPC may still hold the bytes with the old ones.
func (b *batch) restamp() {
	buf := wire.Pool.Get(len(b.data))
	copy(*buf, b.data)
	b.owner.Free()
	b.buf, b.stale = buf, false
	data := record.Batch(*buf)
	data.SetProducer(int64(b.id), b.epoch, b.sequence)
	b.own(data)
}

// own takes a finished batch and gives it the owner under which gRPC sends it.
func (b *batch) own(data record.Batch) {
	b.data = data
	b.builder = nil
	if b.buf != nil && len(data) <= cap(*b.buf) && &data[0] == &(*b.buf)[:1][0] {
		*b.buf = (*b.buf)[:len(data)] // with its whole capacity, by which the pool knows where it belongs
		b.owner = mem.NewBuffer(b.buf, wire.Pool)
		b.buf = nil
		return
	}
	b.releaseBuf()
	b.owner = mem.SliceBuffer(data)
}

func (b *batch) releaseBuf() {
	if b.buf != nil {
		wire.Pool.Put(b.buf)
		b.buf = nil
	}
}

// free gives the memory back. Nobody may touch the batch's bytes afterwards.
func (b *batch) free(m *budget) {
	if b.owner != nil {
		b.owner.Free()
		b.owner, b.data = nil, nil
	}
	b.releaseBuf()
	if b.reserved > 0 {
		m.give(b.reserved)
		b.reserved = 0
	}
}

// split rebuilds a sealed batch as two of about half its size each, for brokers that found it too large (KIP-126). The halves share the
// reservation, the age, the attempts and the numbers of the whole.
func (b *batch) split(cfg *config) ([2]*batch, error) {
	half := (b.count + 1) / 2
	var parts [2]*batch
	var it record.Iterator
	it.Reset(b.data, nil)
	for i := range parts {
		n := half
		if i == 1 {
			n = b.count - half
		}
		part := &batch{
			part: b.part, first: b.first, created: b.created, createdMs: b.createdMs, attempts: b.attempts, count: n,
			numbered: b.numbered, id: b.id, epoch: b.epoch, sequence: b.sequence,
		}
		if i == 1 {
			part.first += uint64(half)
			if b.numbered {
				part.sequence = advance(b.sequence, half)
			}
		}
		builder := record.NewBuilder(nil, maxBuilderSize)
		for range n {
			if !it.Next() {
				return parts, it.Err()
			}
			r := it.Record()
			builder.Append(r.Timestamp, r.Key, r.Value, r.Headers)
		}
		part.builder = builder
		if err := part.seal(cfg); err != nil {
			return parts, err
		}
		parts[i] = part
	}
	for _, c := range b.calls {
		i := 0
		if int(c.index) >= half {
			i, c.index = 1, c.index-int32(half)
		}
		parts[i].calls = append(parts[i].calls, c)
	}
	parts[0].reserved = b.reserved / 2
	parts[1].reserved = b.reserved - parts[0].reserved
	b.reserved = 0
	b.dropCalls()
	return parts, nil
}

// maxBuilderSize lets the halves of a batch hold whatever they must.
const maxBuilderSize = 1<<31 - 1
