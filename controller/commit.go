package controller

import (
	"context"
	"errors"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// Commit implements [Power]: ops of one kind go together, so that they are pipelined.
func (p *power) Commit(ctx context.Context, ops []state.Op) ([]state.Result, error) {
	results := make([]state.Result, len(ops))
	byKind := make(map[state.OpKind][]int)
	var kinds []state.OpKind // in the order in which they come
	for i, op := range ops {
		if byKind[op.Kind] == nil {
			kinds = append(kinds, op.Kind)
		}
		byKind[op.Kind] = append(byKind[op.Kind], i)
	}
	for _, kind := range kinds {
		var err error
		switch at := byKind[kind]; kind {
		case state.CreateState, state.SetState:
			err = p.writeStates(ctx, kind, ops, at, results)
		case state.ReadState:
			err = p.readStates(ctx, ops, at, results)
		default:
			for _, i := range at {
				if err = p.single(ctx, ops[i], &results[i]); err != nil {
					break
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// writeStates creates or sets the states of the ops at the given places.
func (p *power) writeStates(ctx context.Context, kind state.OpKind, ops []state.Op, at []int, results []state.Result) error {
	writes := make([]store.StateWrite, len(at))
	for n, i := range at {
		s := ops[i].State
		writes[n] = store.StateWrite{
			Partition: ops[i].Partition,
			State:     znode.PartitionState{Leader: s.Leader, LeaderEpoch: s.LeaderEpoch, ISR: s.ISR, Recovery: znode.LeaderRecoveryState(s.Recovery)},
			Expected:  ops[i].Version,
		}
	}
	write, taken := p.tx.SetStates, state.BadVersion
	if kind == state.CreateState {
		write, taken = p.tx.CreateStates, state.NodeExists
	}
	got, err := write(ctx, writes)
	if err != nil {
		return meaning(err)
	}
	for n, i := range at {
		results[i] = stateResult(got[n], taken)
	}
	return nil
}

// stateResult says how one write of a state ended; taken is the outcome when something else is there.
func stateResult(r store.StateResult, taken state.Outcome) state.Result {
	var conflict *store.ConflictError
	switch {
	case r.Err == nil:
		return state.Result{Outcome: state.Done, Version: r.Epoch}
	case errors.As(r.Err, &conflict) && conflict.Current == nil:
		return state.Result{Outcome: state.NoNode}
	case conflict != nil:
		return state.Result{Outcome: taken}
	case errors.Is(r.Err, zk.ErrAmbiguous):
		return state.Result{Outcome: state.Unknown}
	}
	return state.Result{Outcome: state.Failed, Reason: r.Err.Error()}
}

// readStates reads the states of the ops at the given places.
func (p *power) readStates(ctx context.Context, ops []state.Op, at []int, results []state.Result) error {
	tps := make([]cluster.TopicPartition, len(at))
	for n, i := range at {
		tps[n] = ops[i].Partition
	}
	infos, err := p.session.st.PartitionStates(ctx, tps)
	if err := p.tolerate(err); err != nil {
		return err
	}
	for n, i := range at {
		info, ok := infos[tps[n]]
		switch {
		case ok:
			results[i] = state.Result{Outcome: state.Done, State: fromNode(info)}
		case err != nil:
			results[i] = state.Result{Outcome: state.Failed, Reason: err.Error()} // absent or not to be understood: leave it alone
		default:
			results[i] = state.Result{Outcome: state.NoNode}
		}
	}
	return nil
}

// single does an op on a topic. Only what ends the reign is an error.
func (p *power) single(ctx context.Context, op state.Op, r *state.Result) error {
	topic := op.Partition.Topic
	var err error
	switch op.Kind {
	case state.ReadTopicConfig:
		r.Config, err = p.session.st.Config(ctx, znode.Entity{Type: znode.TopicEntity, Name: topic})
	case state.SetTopic:
		_, err = p.tx.SetTopic(ctx, topic, toNode(op.TopicID, op.Assignments))
	case state.DeleteTopic:
		err = p.tx.DeleteTopic(ctx, topic)
	case state.SetReassignments:
		left := make([]znode.Reassignment, len(op.Moves))
		for i, move := range op.Moves {
			left[i] = znode.Reassignment{Partition: move.Partition, Replicas: move.Replicas}
		}
		err = p.tx.SetReassignments(ctx, left)
	case state.DeletePreferredElection:
		err = p.tx.DeletePreferredElection(ctx)
	case state.DeleteMarker:
		err = p.tx.DeletePendingDeletion(ctx, topic)
	}
	err = meaning(err)
	switch {
	case err == nil:
		r.Outcome = state.Done
	case errors.Is(err, ErrMoved), errors.Is(err, ErrOver), ctx.Err() != nil:
		return err
	case errors.Is(err, zk.ErrNoNode):
		r.Outcome = state.NoNode
	case errors.Is(err, zk.ErrAmbiguous):
		r.Outcome = state.Unknown
	case errors.Is(err, zk.ErrTooLarge):
		r.Outcome = state.TooLarge
	default:
		*r = state.Result{Outcome: state.Failed, Reason: err.Error()}
	}
	return nil
}
