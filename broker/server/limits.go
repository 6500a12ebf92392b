package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/wire"
)

// Limits bound what clients can ask for. The zero value of each field stands for its default.
type Limits struct {
	// ReceivedBytes bounds the produce requests of all clients that were received and not appended yet (queued.max.request.bytes). While it is
	// exhausted no stream receives. Default 256 MiB. It may be exceeded by one request for each stream.
	ReceivedBytes int64
	// AnswerBytes bounds the records of all fetch answers that were not written to a connection yet. While it is exhausted nothing is read for
	// consumers; for followers it is, which are few. Default 256 MiB. Consumers may exceed it by one read.
	AnswerBytes int64
	// InFlight bounds the produce requests of one stream that are not answered yet. Default 64.
	InFlight int
	// MaxTimeout bounds timeout_ms of produce requests. Default 10 minutes.
	MaxTimeout time.Duration
	// FetchMaxBytes is fetch.max.bytes: what one answer holds at most, the first batch excepted. Default 55 MiB.
	FetchMaxBytes int
	// FetchMaxWait bounds max_wait_ms. Default one minute.
	FetchMaxWait time.Duration
	// WriteTimeout is how long an answer may wait for its reader before the connection is closed. Default 30 s.
	WriteTimeout time.Duration
	// Entries bounds each repeated field of a client's request, and the partitions of a consumer's fetch session. Default 10000.
	Entries int
	// OrderEntries bounds the partitions of one order of the controller, of one request to it, and of a follower's fetch session. Default 200000.
	OrderEntries int
	// PublishBytes bounds the records that one Publish call sends to one partition. Default 1 MiB.
	PublishBytes int
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.ReceivedBytes, 256<<20)
	orDefault(&l.AnswerBytes, 256<<20)
	orDefault(&l.InFlight, 64)
	orDefault(&l.MaxTimeout, 10*time.Minute)
	orDefault(&l.FetchMaxBytes, 55<<20)
	orDefault(&l.FetchMaxWait, time.Minute)
	orDefault(&l.WriteTimeout, 30*time.Second)
	orDefault(&l.Entries, wire.MaxPartitionsPerRequest)
	orDefault(&l.OrderEntries, 200_000)
	orDefault(&l.PublishBytes, 1<<20-512)
	return l
}

func orDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// clampMs turns milliseconds from a request into a duration from 0 to most.
func clampMs(ms int32, most time.Duration) time.Duration {
	return min(max(time.Duration(ms)*time.Millisecond, 0), most)
}

// budget bounds the bytes that a process holds for its clients. What is held already can always be entered, because it is there; those
// who would make the process hold more wait for room first. It is safe for concurrent use.
type budget struct {
	limit int64
	used  atomic.Int64

	mu    sync.Mutex
	freed chan struct{} // closed when there is room again; nil while nobody waits
}

func newBudget(limit int64) *budget { return &budget{limit: limit} }

// add enters n bytes; a negative n takes them out again.
func (b *budget) add(n int64) {
	now := b.used.Add(n)
	if n < 0 && now < b.limit && now-n >= b.limit {
		b.mu.Lock()
		if b.freed != nil {
			close(b.freed)
			b.freed = nil
		}
		b.mu.Unlock()
	}
}

// take enters n bytes if less than the limit is used, and reports whether it did.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used >= b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// room waits until less than the limit is used. The error is the context's.
func (b *budget) room(ctx context.Context) error {
	for b.used.Load() >= b.limit {
		b.mu.Lock()
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		if b.used.Load() < b.limit { // what was freed before the channel was there woke nobody
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
