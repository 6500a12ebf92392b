package zk

import (
	"context"
	"errors"
	"fmt"

	gozk "github.com/go-zookeeper/zk"
)

// Op is one operation of a [Session.Multi]. There is no way to send a check by itself: ZooKeeper before 3.10 then writes a
// log that it cannot read again (Z§4).
type Op struct {
	kind    int32
	path    string
	data    []byte
	flags   Flags
	version int32
}

// CreateOp makes a node.
func CreateOp(path string, data []byte, flags Flags) Op {
	return Op{kind: opCreate, path: path, data: data, flags: flags}
}

// SetOp replaces a node's data.
func SetOp(path string, data []byte, version int32) Op {
	return Op{kind: opSet, path: path, data: data, version: version}
}

// DeleteOp removes a node without children.
func DeleteOp(path string, version int32) Op {
	return Op{kind: opDelete, path: path, version: version}
}

// CheckOp makes the others depend on the version of a node.
func CheckOp(path string, version int32) Op {
	return Op{kind: opCheck, path: path, version: version}
}

// Path returns the node that the operation is about.
func (o Op) Path() string { return o.path }

// Size returns how many bytes the operation takes in a request, roughly and not less.
func (o Op) Size() int { return len(o.path) + len(o.data) + 64 }

// Result is what one operation of a Multi brought back.
type Result struct {
	// Path is the path of the created node, empty for other operations.
	Path string
	// Stat is the new stat of the node set, zero for other operations.
	Stat Stat
}

// MultiError says which operation of a Multi was refused. None was applied.
type MultiError struct {
	// Index counts the operations from 0.
	Index int
	// Err is the refusal.
	Err error
}

// Error names the operation by its place.
func (e *MultiError) Error() string { return fmt.Sprintf("operation %d: %v", e.Index, e.Err) }

// Unwrap returns the refusal.
func (e *MultiError) Unwrap() error { return e.Err }

// Multi applies all operations in order, or none. The results are in the order of the operations. When the server refuses,
// errors.As finds a [*MultiError] in the error. All data together is limited by [MaxDataSize].
func (s *Session) Multi(ctx context.Context, ops ...Op) ([]Result, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	size, requests := 0, make([]any, len(ops))
	for i, op := range ops {
		if err := prepare("multi", op.path, op.data); err != nil {
			return nil, err
		}
		size += op.Size()
		requests[i] = s.toRequest(op)
	}
	first := ops[0].path
	if size > MaxDataSize {
		return nil, failure("multi", first, NotSent, fmt.Errorf("%w: about %d bytes, the limit is %d", ErrTooLarge, size, MaxDataSize))
	}
	results, err := call(ctx, s, "multi", first, func(c *gozk.Conn) ([]Result, error) {
		answers, err := c.Multi(requests...)
		if err != nil {
			return nil, multiRefusal(answers, err)
		}
		if len(answers) != len(ops) {
			return nil, fmt.Errorf("%w: %d results for %d operations", errMalformed, len(answers), len(ops))
		}
		results := make([]Result, len(answers))
		for i, a := range answers {
			results[i] = Result{Path: a.String, Stat: toStat(a.Stat)}
			if a.String != "" {
				results[i].Path = s.strip(a.String)
			}
		}
		return results, nil
	})
	var refused *MultiError
	var failed *OpError
	if errors.As(err, &refused) && errors.As(err, &failed) {
		failed.Path = ops[refused.Index].path
	}
	return results, err
}

// toRequest returns the library's form of an operation.
func (s *Session) toRequest(op Op) any {
	full := s.full(op.path)
	switch op.kind {
	case opCreate:
		return &gozk.CreateRequest{Path: full, Data: op.data, Acl: gozk.WorldACL(gozk.PermAll), Flags: int32(op.flags)}
	case opSet:
		return &gozk.SetDataRequest{Path: full, Data: op.data, Version: op.version}
	case opDelete:
		return &gozk.DeleteRequest{Path: full, Version: op.version}
	default:
		return &gozk.CheckVersionRequest{Path: full, Version: op.version}
	}
}

// multiRefusal turns a failed Multi into the refusal of one operation. The server marks those before it as good and those
// after it as not tried; the first mark that is an error is the cause. Without marks there was no answer.
func multiRefusal(answers []gozk.MultiResponse, err error) error {
	for i, a := range answers {
		if a.Error == nil {
			continue
		}
		cause, ok := answer(a.Error)
		if !ok {
			cause = fmt.Errorf("%w: %w", errInconsistent, a.Error)
		}
		return &MultiError{Index: i, Err: cause}
	}
	return err
}
