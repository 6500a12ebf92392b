package embedded

import (
	"sync"
	"time"

	"github.com/ottla/ottla/zk/embedded/tree"
	"github.com/ottla/ottla/zk/embedded/txlog"
	"github.com/ottla/ottla/zk/jute"
)

// wal gathers transactions for the log goroutine. Two buffers take turns: one is being written and synced while the
// core fills the other. All fields but the channels are the core's.
type wal struct {
	next        *jute.Encoder // room for a frame header, then transactions
	first, last int64         // zxids in next; last < first when it is empty
	spare       []byte
	busy        bool // a job is with the log goroutine
	durable     int64

	snapshotting       bool // a snapshot is being written
	sinceSnapshot      int64
	bytesSinceSnapshot int64

	jobs      chan logJob
	results   chan logResult
	snapshots chan error
}

// logJob is one group commit.
type logJob struct {
	buf         []byte
	first, last int64
	state       []byte // if not nil: begin a new segment behind this frame and write this snapshot of zxid last
	seal        bool   // write the mark of a clean stop instead
}

// logResult says how a group commit went.
type logResult struct {
	buf   []byte
	last  int64
	took  time.Duration
	bytes int
	err   error
}

func newWAL(last int64) *wal {
	w := &wal{
		durable: last, first: last + 1, last: last,
		jobs: make(chan logJob, 1), results: make(chan logResult, 1), snapshots: make(chan error, 1),
	}
	w.next = jute.NewEncoder(make([]byte, txlog.FrameHeaderSize, readBuffer))
	return w
}

func (w *wal) empty() bool { return w.last < w.first }

// pending returns the bytes that are gathered and not yet given to the log.
func (w *wal) pending() int { return w.next.Len() - txlog.FrameHeaderSize }

// add gathers a transaction.
func (w *wal) add(x *tree.Txn) {
	before := w.next.Len()
	x.Encode(w.next)
	w.last = x.Zxid
	w.sinceSnapshot++
	w.bytesSinceSnapshot += int64(w.next.Len() - before)
}

// submit hands what is gathered to the log goroutine, which must be idle.
func (w *wal) submit(state []byte) {
	if state != nil {
		w.snapshotting = true
		w.sinceSnapshot, w.bytesSinceSnapshot = 0, 0
	}
	w.busy = true
	w.jobs <- logJob{buf: w.next.Bytes(), first: w.first, last: w.last, state: state}
	w.first = w.last + 1
	if cap(w.spare) < txlog.FrameHeaderSize {
		w.spare = make([]byte, txlog.FrameHeaderSize, readBuffer)
	}
	w.next.Reset(w.spare[:txlog.FrameHeaderSize])
	w.spare = nil
}

// finished takes a buffer back.
func (w *wal) finished(d logResult) {
	w.busy = false
	if d.err == nil {
		w.durable = d.last
	}
	const keep = 1 << 20 // a burst must not pin its memory
	if cap(d.buf) <= keep {
		w.spare = d.buf
	}
}

// seal asks for the mark of a clean stop.
func (w *wal) seal() { w.jobs <- logJob{seal: true, last: w.durable} }

// run is the log goroutine: one job after the other until jobs is closed. Snapshots are written beside it.
func (w *wal) run(s *Server) {
	var writing sync.WaitGroup
	defer writing.Wait()
	for job := range w.jobs {
		began := time.Now()
		err := w.do(s.store, job)
		w.results <- logResult{buf: job.buf, last: job.last, took: time.Since(began), bytes: len(job.buf), err: err}
		if err == nil && job.state != nil {
			writing.Go(func() { w.snapshots <- s.store.WriteSnapshot(job.last, job.state) })
		}
	}
}

func (w *wal) do(store *txlog.Store, job logJob) error {
	if job.seal {
		return store.Seal()
	}
	if err := store.Append(job.buf, job.first, job.last); err != nil {
		return err
	}
	if job.state == nil {
		return nil
	}
	return store.Roll()
}
