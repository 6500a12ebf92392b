package server

import (
	"context"
	"time"

	"github.com/ottla/ottla/controller/state"
)

// Partitions does what administrators ask of the controller about partitions. Only the active controller does: others answer
// NOT_CONTROLLER. What is asked has not been checked, except that nothing is named twice.
type Partitions interface {
	// CreatePartitions gives topics more partitions and answers in the same order. It waits up to timeout until they are usable.
	CreatePartitions(ctx context.Context, topics []state.MorePartitions, timeout time.Duration, validateOnly bool) []TopicResult
	// ElectLeaders elects as asked for and waits up to timeout until the leaders are known.
	ElectLeaders(ctx context.Context, req state.ElectLeaders, timeout time.Duration) ([]state.ElectResult, error)
	// AlterReassignments begins, overrides and cancels moves and answers in the same order. It waits up to timeout until they have begun.
	AlterReassignments(ctx context.Context, moves []state.Move, timeout time.Duration) ([]state.MoveResult, error)
	// ListReassignments returns the moves that are under way.
	ListReassignments(ctx context.Context, req state.ListReassignments, timeout time.Duration) ([]state.OngoingMove, error)
}
