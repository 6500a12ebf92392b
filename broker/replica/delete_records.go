package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// BeforeWatermark asks [Partition.DeleteRecords] for everything that consumers may read.
const BeforeWatermark cluster.Offset = -1

// DeleteRecords makes the partition that this broker leads begin at an offset (KIP-107, F§3.9). Only a topic whose cleanup.policy contains delete
// lets it: the code is POLICY_VIOLATION otherwise. An offset beyond the high watermark is OFFSET_OUT_OF_RANGE, one before the beginning changes
// nothing. The followers learn the new beginning with their next fetch; the Deletion tells when.
func (p *Partition) DeleteRecords(before cluster.Offset) (Deletion, error) {
	p.gate.enter()
	defer p.gate.leave()
	st := p.state.Load()
	if code := st.Refusal(); code != kerr.None {
		return Deletion{}, code
	}
	if policy := p.log.Config().CleanupPolicy; !slices.Contains(strings.Split(policy, ","), "delete") {
		return Deletion{}, kerr.PolicyViolation.With(fmt.Sprintf("Records of partition %s can not be deleted due to the configured policy", p.tp))
	}
	watermark := p.HighWatermark()
	if before == BeforeWatermark {
		before = watermark
	}
	if before < 0 {
		return Deletion{}, kerr.OffsetOutOfRange.With(fmt.Sprintf("The offset %d for partition %s is not valid", before, p.tp))
	}
	if before > watermark {
		return Deletion{}, kerr.OffsetOutOfRange.With(fmt.Sprintf(
			"Cannot increment the log start offset to %d of partition %s since it is larger than the high watermark %d", before, p.tp, watermark))
	}
	if err := p.log.AdvanceLogStart(before); err != nil {
		if code := p.checkStorage(err); code == kerr.KafkaStorageError {
			return Deletion{}, fmt.Errorf("delete the records of %s before %d: %w", p.tp, before, err)
		}
		return Deletion{}, err
	}
	return Deletion{p: p, term: st.Term, before: before}, nil
}

// Deletion is the condition under which deleted records are gone everywhere: no live replica begins earlier. It is a small value.
type Deletion struct {
	p      *Partition
	term   uint64
	before cluster.Offset
}

// Outcome returns the low watermark, which is where the earliest of the live replicas begins, and the code for the client; false while it is not
// decided yet. NOT_LEADER_OR_FOLLOWER means that the leadership was interrupted: the records are gone all the same.
func (d Deletion) Outcome() (low cluster.Offset, code kerr.Code, decided bool) {
	low, term, code := d.p.lowWatermark()
	if code == kerr.None && term != d.term {
		code = kerr.NotLeaderOrFollower
	}
	if code != kerr.None {
		return cluster.UnknownOffset, code, true
	}
	return low, kerr.None, low >= d.before
}

// Await waits for the outcome. The code is REQUEST_TIMED_OUT when expired is closed first. The error is the context's. The signal must not be in use
// elsewhere.
func (d Deletion) Await(ctx context.Context, s *Signal, expired <-chan struct{}) (cluster.Offset, kerr.Code, error) {
	if low, code, decided := d.Outcome(); decided {
		return low, code, nil
	}
	d.p.Watch(s, StartMoved)
	defer d.p.Unwatch(s)
	for {
		low, code, decided := d.Outcome()
		if decided {
			return low, code, nil
		}
		select {
		case <-s.C():
		case <-expired:
			if low, code, decided = d.Outcome(); !decided { // a follower that died in the meantime tells nobody
				code = kerr.RequestTimedOut
			}
			return low, code, nil
		case <-ctx.Done():
			return low, kerr.None, ctx.Err()
		}
	}
}

// lowWatermark returns where the earliest of the live replicas begins: unknown while one of them has not fetched yet. Only a leader knows.
func (p *Partition) lowWatermark() (low cluster.Offset, term uint64, code kerr.Code) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.state.Load()
	if code := st.Refusal(); code != kerr.None {
		return cluster.UnknownOffset, st.Term, code
	}
	if p.lead == nil { // the leadership is about to end, and will tell
		return cluster.UnknownOffset, st.Term, kerr.None
	}
	return p.lead.LowWatermark(p.log.LogStartOffset(), p.env.alive), st.Term, kerr.None
}
