package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// Acks is how many replicas must have a batch before its producer is told.
type Acks int8

const (
	// AcksNone is no answer at all.
	AcksNone Acks = 0
	// AcksLeader answers when the leader has appended.
	AcksLeader Acks = 1
	// AcksAll answers when all in-sync replicas have the batch.
	AcksAll Acks = -1
)

// Valid reports whether a is one of the three.
func (a Acks) Valid() bool { return a >= AcksAll && a <= AcksLeader }

// Appended is the outcome of a successful append.
type Appended struct {
	// Info is what the log did. Its RecordErrors may be set although the append failed.
	Info commitlog.AppendInfo
	// Wait tells when the batch is acknowledged under [AcksAll].
	Wait Wait
}

// Append appends one batch to the log that this broker leads (F§3.6): is it the leader, are enough replicas in sync, then everything that
// the log checks. The batch is modified in place, and not needed any more when Append returns. The error carries a [kerr.Code], see
// [kerr.CodeOf]; with INVALID_RECORD and INVALID_TIMESTAMP the result's Info may name records. With AcksAll the batch is acknowledged
// when the Wait says so.
func (p *Partition) Append(batch record.Batch, acks Acks) (Appended, error) {
	p.gate.enter()
	st := p.state.Load()
	minISR := int(p.minISR.Load())
	switch code := st.AdmitAppend(acks == AcksAll, minISR); code {
	case kerr.None:
	case kerr.NotEnoughReplicas:
		p.gate.leave()
		return Appended{}, code.With(fmt.Sprintf(
			"The size of the current ISR %d is insufficient to satisfy the min.isr requirement of %d for partition %s", st.ISR, st.EffectiveMinISR(minISR), p.tp))
	default:
		p.gate.leave()
		return Appended{}, code
	}
	info, err := p.log.AppendAsLeader(batch, st.Epoch)
	if err != nil {
		p.gate.leave()
		if code := p.checkStorage(err); code == kerr.KafkaStorageError {
			return Appended{}, fmt.Errorf("append to %s: %w", p.tp, err)
		}
		return Appended{Info: info}, err
	}
	news := EndMoved
	if p.advance() {
		news |= WatermarkMoved
	}
	p.gate.leave()
	p.watchers.tell(news)
	if now := p.state.Load(); now.Role == state.Leading && now.Term == st.Term {
		return Appended{Info: info, Wait: Wait{p: p, term: st.Term, required: info.LastOffset + 1}}, nil
	}
	return Appended{Info: info}, kerr.NotLeaderOrFollower.With(fmt.Sprintf("the leadership of %s has ended while the batch was appended", p.tp))
}

// Wait is the condition under which a batch is acknowledged: every in-sync replica has it and this broker has been leading ever
// since it was appended. It is a small value; the zero Wait is fulfilled.
type Wait struct {
	p        *Partition
	term     uint64
	required cluster.Offset
}

// Outcome returns the code for the producer, and false while it is not decided yet.
//
// NOT_LEADER_OR_FOLLOWER means that the leadership was interrupted: another leader may have put another batch at these offsets.
// NOT_ENOUGH_REPLICAS_AFTER_APPEND means that the batch is in the log, but too few replicas were in sync for min.insync.replicas when the
// high watermark passed it.
func (w Wait) Outcome() (kerr.Code, bool) {
	if w.p == nil {
		return kerr.None, true
	}
	watermark := w.p.HighWatermark() // before the standing
	return state.Outcome(w.p.state.Load(), w.term, watermark, w.required, int(w.p.minISR.Load()))
}

// Await waits for the outcome. It returns REQUEST_TIMED_OUT when expired delivers first: the batch stays in the log and may still be
// acknowledged by everybody (F§3.6). The error is the context's. The signal must not be in use elsewhere; nil makes Await use one of
// its own.
func (w Wait) Await(ctx context.Context, s *Signal, expired <-chan time.Time) (kerr.Code, error) {
	if code, ok := w.Outcome(); ok {
		return code, nil
	}
	if s == nil {
		s = NewSignal()
	}
	w.p.Watch(s, WatermarkMoved)
	defer w.p.Unwatch(s)
	for {
		if code, ok := w.Outcome(); ok {
			return code, nil
		}
		select {
		case <-s.C():
		case <-expired:
			return kerr.RequestTimedOut, nil
		case <-ctx.Done():
			return kerr.None, ctx.Err()
		}
	}
}
