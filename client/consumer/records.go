package consumer

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Record is what a consumer reads.
//
// Key, Value and the headers' values alias the memory of the broker's answer. They stay valid for as long as they are held, must not be
// modified, and hold the whole answer in memory: copy what is kept for long.
type Record struct {
	// Topic it is from.
	Topic string
	// Partition it is from.
	Partition int32
	// Offset of the record.
	Offset cluster.Offset
	// Timestamp with millisecond precision; see TimestampType for whose clock it is.
	Timestamp time.Time
	// TimestampType is [record.CreateTime] or [record.LogAppendTime].
	TimestampType record.TimestampType
	// LeaderEpoch is the leader epoch that the record was appended under; -1 when unknown.
	LeaderEpoch cluster.LeaderEpoch
	// Key is nil when the record has none.
	Key []byte
	// Value is nil when the record has none.
	Value []byte
	// Headers in the order of the producer; nil when there are none.
	Headers []record.Header
}

// ErrBusy is given to a second caller of Records or Poll while a first one is at it.
var ErrBusy = errors.New("the consumer is being read by another goroutine")

// Records returns the records of all assigned partitions as an endless sequence, waiting for new ones. Records of one partition come in order.
// The sequence may be left and taken up again; no record is lost or repeated in between.
//
// It ends after the error of ctx, or after [client.ErrClosed]. After any other error the loop may go on: the partition that the error is
// about (see [client.Error]) waits for a seek, the others continue.
//
// A record without headers costs no allocation.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if !c.reading.TryLock() {
			yield(Record{}, ErrBusy)
			return
		}
		defer c.reading.Unlock()
		for {
			if !c.cursor.active {
				ch, err := c.take(ctx)
				if err == nil {
					c.cursor.start(ch, &c.cfg)
				} else if !yield(Record{}, err) || c.over(ctx) {
					return
				}
			} else if !c.drain(ctx, yield) {
				return
			}
		}
	}
}

// over reports whether an endless sequence has to end.
func (c *Consumer) over(ctx context.Context) bool { return ctx.Err() != nil || c.ctx.Err() != nil }

// drain gives out the records under the cursor until the chunk is read or has become stale. It returns false when the loop is left.
func (c *Consumer) drain(ctx context.Context, yield func(Record, error) bool) bool {
	k := &c.cursor
	p := k.chunk.part
	for !k.chunk.stale() {
		if ctx.Err() != nil {
			yield(Record{}, context.Cause(ctx))
			return false
		}
		from := k.next
		ok, err := k.advance()
		moved := p.passed(from, k.next)
		if err != nil {
			c.spoiled(k.chunk, err)
			c.finish()
			return yield(Record{}, c.readError(p, err))
		}
		if !ok || !moved {
			break
		}
		if !yield(k.rec, nil) {
			return false
		}
	}
	c.finish()
	return true
}

// passed moves the position on, and reports false when it is not where the cursor believes: then a seek of another goroutine came between the
// cursor's look at the generation and this, and what the cursor has in its hands is not wanted any more.
func (p *part) passed(from, next cluster.Offset) bool {
	return p.position.CompareAndSwap(int64(from), int64(next))
}

// finish takes the cursor off its chunk and gives the credit back.
func (c *Consumer) finish() {
	last := c.cursor.chunk.last
	c.cursor.active = false
	c.cursor.chunk, c.cursor.rest = chunk{}, nil
	c.release(last)
}

func (c *Consumer) release(f *fetcher) {
	if f == nil {
		return
	}
	c.mu.Lock()
	f.held--
	c.mu.Unlock()
	f.notify()
}

// spoiled takes a partition out of fetching whose records cannot be read.
func (c *Consumer) spoiled(ch chunk, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.stale() {
		return
	}
	c.detachLocked(ch.part)
	ch.part.bump()
	ch.part.stage = stuck
	c.cfg.logger.Warn("records cannot be read", "topic-partition", ch.part.tp, "error", err)
}

func (c *Consumer) readError(p *part, err error) error {
	return &client.Error{Op: "read", Broker: cluster.NoBroker, TopicPartition: p.tp, Err: err}
}

// take returns the next chunk of records that is not stale, waiting for it.
func (c *Consumer) take(ctx context.Context) (chunk, error) {
	for {
		if c.ctx.Err() != nil {
			return chunk{}, client.ErrClosed
		}
		if ctx.Err() != nil {
			return chunk{}, context.Cause(ctx)
		}
		ch, ok := c.pop()
		switch {
		case !ok:
			select {
			case <-c.arrived:
			case <-ctx.Done():
			case <-c.ctx.Done():
			}
			continue
		case ch.stale():
		case ch.err != nil:
			return chunk{}, ch.err
		case ch.reset:
			c.mu.Lock()
			if !ch.stale() {
				c.resetLocked(ch.part)
				c.poke()
			}
			c.mu.Unlock()
		default:
			// Another goroutine may pause and resume between our look at a record's generation and the moving of the position behind the record:
			// then what is fetched next begins one record before the position. A seek in between makes the chunk stale, which is looked at again.
			ch.from = max(ch.from, cluster.Offset(ch.part.position.Load()))
			return ch, nil
		}
		c.release(ch.last)
	}
}

func (c *Consumer) pop() (chunk, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return chunk{}, false
	}
	ch := c.queue[0]
	c.queue[0] = chunk{}
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return ch, true
}

// Batch is the records of one partition that one answer brought.
type Batch struct {
	// TopicPartition they are from.
	TopicPartition cluster.TopicPartition
	// HighWatermark is the end of the partition as the answer said it.
	HighWatermark cluster.Offset
	// Next is the position after these records.
	Next cluster.Offset

	chunk chunk
	cfg   *config
}

// Bytes returns the size of the record batches, compressed as they are.
func (b *Batch) Bytes() int { return len(b.chunk.data) }

// All returns the records. They stay readable for as long as the Batch is held, whatever becomes of the consumer. An error, for records that
// cannot be read, ends the sequence.
func (b *Batch) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var k cursor
		k.start(b.chunk, b.cfg)
		for {
			ok, err := k.advance()
			if err != nil {
				yield(Record{}, &client.Error{Op: "read", Broker: cluster.NoBroker, TopicPartition: b.TopicPartition, Err: err})
				return
			}
			if !ok || !yield(k.rec, nil) {
				return
			}
		}
	}
}

// Poll returns what has been fetched, at most one answer of one broker, and waits until there is something. The positions move behind what it
// returns. It ends with the error of ctx or with [client.ErrClosed]; after other errors it may be called again.
func (c *Consumer) Poll(ctx context.Context) ([]Batch, error) {
	if !c.reading.TryLock() {
		return nil, ErrBusy
	}
	defer c.reading.Unlock()
	if k := &c.cursor; k.active { // a loop over Records stopped in the middle
		ch := k.chunk
		ch.from = k.next
		c.finish()
		if !ch.stale() && ch.from < ch.end {
			ch.last = nil
			if b, ok := c.handOver(ch); ok {
				return []Batch{b}, nil
			}
		}
	}
	var batches []Batch
	for {
		ch, err := c.take(ctx)
		if err != nil {
			return nil, err
		}
		if b, ok := c.handOver(ch); ok {
			batches = append(batches, b)
		}
		if (ch.last != nil || !c.more()) && len(batches) > 0 {
			return batches, nil
		}
	}
}

// more reports whether the next chunk in the queue belongs to the answer that is being handed over.
func (c *Consumer) more() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0 && c.queue[0].err == nil && !c.queue[0].reset && !c.queue[0].stale()
}

// handOver turns a chunk into a batch for the caller: the position moves and the credit goes back.
func (c *Consumer) handOver(ch chunk) (b Batch, ok bool) {
	ok = ch.part.passed(ch.from, ch.end)
	c.release(ch.last)
	return Batch{TopicPartition: ch.part.tp, HighWatermark: ch.high, Next: ch.end, chunk: ch, cfg: &c.cfg}, ok
}
