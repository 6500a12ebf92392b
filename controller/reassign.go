package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/ottla/ottla/controller/state"
)

// AlterReassignments begins, overrides and cancels reassignments (F§2.8, KIP-455). The results are in the order of the moves; nil means
// that a reassignment has begun: it is complete when [Controller.ListReassignments] does not show it any longer. timeout bounds how long
// the answer may take, 0 leaves that to ctx. The error carries NOT_CONTROLLER or REQUEST_TIMED_OUT; reassignments may then have begun or
// not.
func (c *Controller) AlterReassignments(ctx context.Context, moves []state.Move, timeout time.Duration) ([]state.MoveResult, error) {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	reply, err := c.ask(ctx, "alter reassignments", state.AlterReassignments{Moves: moves})
	if err != nil {
		return nil, fmt.Errorf("alter reassignments: %w", err)
	}
	return reply.(state.MoveReply).Partitions, nil
}

// ListReassignments returns the reassignments that are under way, by topic and partition. For timeout and the error see
// [Controller.AlterReassignments].
func (c *Controller) ListReassignments(ctx context.Context, req state.ListReassignments, timeout time.Duration) ([]state.OngoingMove, error) {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	reply, err := c.ask(ctx, "list reassignments", req)
	if err != nil {
		return nil, fmt.Errorf("list reassignments: %w", err)
	}
	return reply.(state.ListReply).Partitions, nil
}

// withTimeout returns a context that ends after timeout, if that is not 0.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}
