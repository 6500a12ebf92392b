package controller

import (
	"context"
	"errors"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// ErrMoved means that this broker is not the controller, or not any longer: a fenced write was refused, or an election lost.
var ErrMoved = errors.New("the controller has moved")

// ErrOver means that the session has ended.
var ErrOver = errors.New("the session is over")

// Session is one ZooKeeper session as the controller uses it. [NewZooKeeper] makes the real one.
type Session interface {
	Watch
	// Live reports whether the session can still be relied on at this moment.
	Live() bool
	// ActiveController reads who is controller, and watches for another.
	ActiveController(ctx context.Context) (id cluster.BrokerID, ok bool, err error)
	// Elect tries to make this broker controller. power is nil if another one is, whom active then names. The error is ErrMoved if
	// another one was elected at the same time.
	Elect(ctx context.Context, nowMs int64) (power Power, active cluster.BrokerID, err error)
	// Depose is Elect in place of a controller that is to be replaced. If another one than old has been elected meanwhile, active names it.
	Depose(ctx context.Context, old cluster.BrokerID, nowMs int64) (power Power, active cluster.BrokerID, err error)
	// Topics lists all topics.
	Topics(ctx context.Context) ([]string, error)
	// CreateTopic writes the nodes of a topic: first its overrides, then its assignment. The error carries
	// TOPIC_ALREADY_EXISTS if there is one.
	CreateTopic(ctx context.Context, t state.Topic, config map[string]string) error
	// RequestDeletion asks the controller to delete a topic. Asking twice is fine.
	RequestDeletion(ctx context.Context, topic string) error
	// Close ends the watches.
	Close()
}

// Power is what an elected broker can do: read everything and watch it, and write under the fence of its epoch. Errors are
// ErrMoved when the fence refused, ErrOver when the session has ended.
type Power interface {
	Watch
	// Epoch is the epoch that was won.
	Epoch() cluster.ControllerEpoch
	// Sync makes the reads that follow see everything that was written before.
	Sync(ctx context.Context) error
	// SetUpFeatures writes /feature if it does not exist.
	SetUpFeatures(ctx context.Context) error
	// Brokers, TopicNames, Topics and Deletions read, and watch what they read. Topics leaves out those that do not exist; those whose nodes cannot be
	// understood have neither partitions nor an id. It makes up ids for the others that have none.
	Brokers(ctx context.Context) ([]state.Broker, error)
	TopicNames(ctx context.Context) ([]string, error)
	Topics(ctx context.Context, names []string) ([]state.Topic, error)
	Deletions(ctx context.Context) ([]string, error)
	// Reassignments and Elections read what old tools ask for in ZooKeeper, and watch for it. ok is false when the reassignments cannot
	// be understood: they are left alone then. Elections that cannot be understood are none.
	Reassignments(ctx context.Context) (e state.ReassignmentsRequested, ok bool, err error)
	Elections(ctx context.Context) (state.ElectionsRequested, error)
	// LogDirEvents reads which brokers have lost log directories, and watches for more. The paths are for DeleteNotifications.
	LogDirEvents(ctx context.Context) (brokers []cluster.BrokerID, paths []string, err error)
	// States reads the states of partitions, leaving out those that have none, and the zxids at which they were written.
	States(ctx context.Context, tps []cluster.TopicPartition) (
		states map[cluster.TopicPartition]state.LeaderAndISR, written map[cluster.TopicPartition]cluster.BrokerEpoch, err error)
	// Commit does the ops of a step. With an error nothing is known of those that are not reflected in the cluster.
	Commit(ctx context.Context, ops []state.Op) ([]state.Result, error)
	// DeleteNotifications removes notifications that were dealt with.
	DeleteNotifications(ctx context.Context, paths []string) error
	// DeleteAllNotifications removes all ISR and log directory notifications.
	DeleteAllNotifications(ctx context.Context) error
	// Resign deletes /controller, so that another is elected at once.
	Resign(ctx context.Context) error
	// Close ends the watches.
	Close()
}

// Watch is a queue of hints that something has changed.
type Watch interface {
	// Ready has a token when Take may return something.
	Ready() <-chan struct{}
	// Take empties the queue.
	Take() []Change
}

// Change says what may have changed.
type Change struct {
	// Kind is the place.
	Kind ChangeKind
	// Topic is set for TopicNodeChange.
	Topic string
}

// ChangeKind is a kind of [Change].
type ChangeKind uint8

// The kinds of changes.
const (
	// EverythingChange means that changes may have been missed: after a reconnection.
	EverythingChange ChangeKind = iota + 1
	// ControllerNodeChange concerns /controller.
	ControllerNodeChange
	// BrokersChange concerns /brokers/ids or one of its children.
	BrokersChange
	// TopicsChange concerns the children of /brokers/topics.
	TopicsChange
	// TopicNodeChange concerns one topic's node.
	TopicNodeChange
	// DeletionsChange concerns the children of /admin/delete_topics.
	DeletionsChange
	// ReassignmentsChange concerns /admin/reassign_partitions.
	ReassignmentsChange
	// ElectionsChange concerns /admin/preferred_replica_election.
	ElectionsChange
	// LogDirsChange concerns the children of /log_dir_event_notification.
	LogDirsChange
)
