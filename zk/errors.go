package zk

import (
	"errors"
	"fmt"

	gozk "github.com/go-zookeeper/zk"
)

// Errors that a server gives as an answer. The operation was not applied.
var (
	// ErrNoNode means that the node, or the parent of a node to create, does not exist.
	ErrNoNode = errors.New("node does not exist")
	// ErrNodeExists means that the node to create is there.
	ErrNodeExists = errors.New("node already exists")
	// ErrBadVersion means that the node's version is not the expected one.
	ErrBadVersion = errors.New("version does not match")
	// ErrNotEmpty means that the node to delete has children.
	ErrNotEmpty = errors.New("node has children")
	// ErrNoAuth means that the node's access rules forbid it.
	ErrNoAuth = errors.New("not authorized")
	// ErrInvalidACL means that the access rules given are not valid.
	ErrInvalidACL = errors.New("invalid access rules")
	// ErrNoChildrenForEphemerals means that the parent is an ephemeral node.
	ErrNoChildrenForEphemerals = errors.New("ephemeral nodes have no children")
	// ErrBadArguments means that the server does not take the request's values.
	ErrBadArguments = errors.New("bad arguments")
)

// Errors of this package's own.
var (
	// ErrInvalidPath means that the path cannot name a node. Nothing was sent.
	ErrInvalidPath = errors.New("invalid path")
	// ErrTooLarge means that the data exceeds [MaxDataSize]. Nothing was sent.
	ErrTooLarge = errors.New("data too large")
	// ErrSessionExpired means that the session is over: the server said so, or its lease ended.
	ErrSessionExpired = errors.New("session expired")
	// ErrLeaseEnded is the [ErrSessionExpired] that the process found out by itself: no request sent within the last session
	// timeout has been answered.
	ErrLeaseEnded error = leaseEnded{}
	// ErrClosed means that the client was closed.
	ErrClosed = errors.New("client closed")
	// ErrAmbiguous is matched by errors of class [Ambiguous]: the write may or may not have been applied.
	ErrAmbiguous = errors.New("outcome unknown")
	// errInconsistent is a failure code inside the answer to a Multi that has no name of its own.
	errInconsistent = errors.New("refused by the server")
)

// leaseEnded is the type of ErrLeaseEnded.
type leaseEnded struct{}

// Error says how the end was found out.
func (leaseEnded) Error() string {
	return "session expired: no request was answered within the session timeout"
}

// Is makes ErrLeaseEnded an ErrSessionExpired.
func (leaseEnded) Is(target error) bool { return target == ErrSessionExpired }

// Class tells what an error means for the state of the tree. It decides what the caller may do next.
type Class int

// The classes of outcomes.
const (
	// OK means applied: there is no error.
	OK Class = iota
	// Definite means that the server refused: not applied.
	Definite
	// NotSent means that nothing left this process: not applied, and never will be.
	NotSent
	// Ambiguous means unknown: applied, not applied, or still to be applied. Find out by reading, or repeat what is harmless
	// to repeat.
	Ambiguous
)

// String returns the class's name.
func (c Class) String() string {
	switch c {
	case OK:
		return "ok"
	case Definite:
		return "definite"
	case NotSent:
		return "not sent"
	default:
		return "ambiguous"
	}
}

// OpError is the error of every operation.
type OpError struct {
	// Op is the operation: create, get, set, delete, exists, children, multi, sync.
	Op string
	// Path is the node, relative to the chroot. For a multi it is the path of the operation that was refused, or of the first.
	Path string
	// Class tells whether a write was applied. For reads it is Definite or NotSent.
	Class Class
	// Err is the cause: one of this package's errors, a context's, or the network's.
	Err error
}

// Error names operation, path, cause and, where it matters, that the outcome is unknown.
func (e *OpError) Error() string {
	if e.Class == Ambiguous {
		return fmt.Sprintf("zookeeper %s %s: outcome unknown: %v", e.Op, e.Path, e.Err)
	}
	return fmt.Sprintf("zookeeper %s %s: %v", e.Op, e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Is matches [ErrAmbiguous] by class.
func (e *OpError) Is(target error) bool { return target == ErrAmbiguous && e.Class == Ambiguous }

// ClassOf returns the class of an operation's error. An error that is not an operation's is Ambiguous, unless it is nil.
func ClassOf(err error) Class {
	if err == nil {
		return OK
	}
	var op *OpError
	if errors.As(err, &op) {
		return op.Class
	}
	return Ambiguous
}

// answers pairs the library's errors for a server's refusals with ours. Whatever is not in it says nothing about the tree.
var answers = []struct{ theirs, ours error }{
	{gozk.ErrNoNode, ErrNoNode},
	{gozk.ErrNodeExists, ErrNodeExists},
	{gozk.ErrBadVersion, ErrBadVersion},
	{gozk.ErrNotEmpty, ErrNotEmpty},
	{gozk.ErrNoAuth, ErrNoAuth},
	{gozk.ErrInvalidACL, ErrInvalidACL},
	{gozk.ErrNoChildrenForEphemerals, ErrNoChildrenForEphemerals},
	{gozk.ErrBadArguments, ErrBadArguments},
	{gozk.ErrInvalidPath, ErrInvalidPath},
}

// answer translates a refusal. ok is false for anything else.
func answer(err error) (ours error, ok bool) {
	for _, a := range answers {
		if errors.Is(err, a.theirs) {
			return a.ours, true
		}
	}
	return nil, false
}

// classify translates an error of the library.
func classify(err error) (Class, error) {
	if ours, ok := answer(err); ok {
		return Definite, ours
	}
	var multi *MultiError
	switch {
	case errors.As(err, &multi):
		return Definite, err
	case errors.Is(err, gozk.ErrShortBuffer):
		return Ambiguous, fmt.Errorf("the library cannot encode the request or decode the answer: %w", err)
	case errors.Is(err, gozk.ErrSessionExpired):
		return Ambiguous, ErrSessionExpired
	}
	return Ambiguous, err
}

// failure builds an operation's error.
func failure(op, path string, class Class, err error) error {
	return &OpError{Op: op, Path: path, Class: class, Err: err}
}
