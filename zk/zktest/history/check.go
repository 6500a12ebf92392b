package history

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ottla/ottla/zk/jute"
)

// nodeState is a node as clients can see it.
type nodeState struct {
	exists  bool
	value   string
	version int32
}

// apply carries a request out and returns the code with which it ends.
func (s nodeState) apply(o *Op) (nodeState, jute.Code) {
	switch {
	case o.Kind == Create && s.exists:
		return s, jute.NodeExists
	case o.Kind == Create:
		return nodeState{exists: true, value: o.Value}, jute.OK
	case !s.exists:
		return s, jute.NoNode
	case o.Kind.reads():
		return s, jute.OK
	case o.Version != -1 && o.Version != s.version:
		return s, jute.BadVersion
	case o.Kind == Set:
		return nodeState{exists: true, value: o.Value, version: s.version + 1}, jute.OK
	default: // Delete
		return nodeState{}, jute.OK
	}
}

// explains reports whether a request's answer is what it must be if it leads to the state s with the given code.
func (s nodeState) explains(o *Op, code jute.Code) bool {
	switch {
	case o.Return == 0:
		return true // whatever happened, nobody was told
	case o.Code != code:
		return false
	case code != jute.OK:
		return true
	case o.Kind == Set:
		return o.Stat.Version == s.version
	case o.Kind.reads():
		return o.Got == s.value && o.Stat.Version == s.version
	default:
		return true
	}
}

// node is the model of one node, for porcupine; nodes are independent of each other.
var node = porcupine.Model{
	Init: func() any { return nodeState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, o := state.(nodeState), input.(*Op)
		next, code := s.apply(o)
		return next.explains(o, code), next
	},
}

// Linearizable checks that the writes and the synced reads of a history have taken effect in one order that respects
// real time, node by node, and that the zxids of the successful writes are such an order of all of them. It gives up, with
// an error, after the given time.
func Linearizable(h []Op, within time.Duration) error {
	byPath := map[string][]porcupine.Operation{}
	for i := range h {
		o := &h[i]
		if o.Kind == Read || o.Kind == SyncedRead && o.Return == 0 {
			continue
		}
		end := o.Return
		if end == 0 {
			end = math.MaxInt64 // it may take effect at any later time, or so late that nobody sees it
		}
		byPath[o.Path] = append(byPath[o.Path], porcupine.Operation{ClientId: o.Client, Input: o, Call: o.Call, Return: end})
	}
	errs := []error{ordered(h)}
	for path, ops := range byPath {
		switch porcupine.CheckOperationsTimeout(node, ops, within) {
		case porcupine.Illegal:
			errs = append(errs, fmt.Errorf("%s: no order explains the %d requests", path, len(ops)))
		case porcupine.Unknown:
			errs = append(errs, fmt.Errorf("%s: no decision on %d requests within %v", path, len(ops), within))
		case porcupine.Ok:
		}
	}
	return errors.Join(errs...)
}

// ordered checks that the zxids of successful writes differ and respect real time.
func ordered(h []Op) error {
	var writes []*Op
	for i := range h {
		if o := &h[i]; o.succeeded() {
			writes = append(writes, o)
		}
	}
	byReturn := slices.Clone(writes)
	slices.SortFunc(writes, func(a, b *Op) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(byReturn, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
	seen := map[int64]*Op{}
	latest := &Op{}
	for _, o := range writes {
		for ; byReturn[0].Return < o.Call; byReturn = byReturn[1:] {
			if byReturn[0].Zxid > latest.Zxid {
				latest = byReturn[0]
			}
		}
		if o.Zxid <= latest.Zxid {
			return fmt.Errorf("the zxids go back: %v, although %v was over", o, latest)
		}
		if other := seen[o.Zxid]; other != nil {
			return fmt.Errorf("one zxid for two writes: %v, %v", o, other)
		}
		seen[o.Zxid] = o
	}
	return nil
}

// succeeded tells whether it is a write that is known to have been carried out.
func (o *Op) succeeded() bool { return !o.Kind.reads() && o.Return != 0 && o.Code == jute.OK }

// span is a node's state from one zxid up to, and without, another.
type span struct {
	state    nodeState
	from, to int64
}

// timeline is the life of a node in the order of zxids.
type timeline struct {
	spans   []span
	blurred bool // a delete was not answered: when the node was absent is not known
}

// Sequential checks that there is one order of writes, that of their zxids, in which every client can be given a
// position that never goes back, that its own writes are at, and at which its reads, plain or synced, are right.
func Sequential(h []Op) error {
	lines, err := timelines(h)
	if err != nil {
		return err
	}
	position := map[int]int64{}
	for i := range h { // in the order of calls, so in each client's own order
		o := &h[i]
		low := position[o.Client]
		switch {
		case o.succeeded():
			if o.Zxid <= low {
				return fmt.Errorf("after zxid 0x%x the same client writes in the past: %v", low, o)
			}
			position[o.Client] = o.Zxid
		case o.Kind.reads() && o.Return != 0:
			if position[o.Client], err = lines[o.Path].place(o, low); err != nil {
				return err
			}
		}
	}
	return nil
}

// timelines puts the writes of each node in order: those that were acknowledged, and those that were not but whose value
// somebody has read.
func timelines(h []Op) (map[string]*timeline, error) {
	lost := map[string]bool{} // values whose write was not answered
	lines := map[string]*timeline{}
	for i := range h {
		o := &h[i]
		line := lines[o.Path]
		if line == nil {
			line = &timeline{spans: []span{{}}}
			lines[o.Path] = line
		}
		switch {
		case o.Return == 0 && o.Kind == Delete:
			line.blurred = true
		case o.Return == 0 && !o.Kind.reads():
			lost[o.Value] = true
		case o.succeeded() && o.Kind == Delete:
			line.spans = append(line.spans, span{from: o.Zxid})
		case o.succeeded():
			s := nodeState{exists: true, value: o.Value, version: o.Stat.Version}
			line.spans = append(line.spans, span{state: s, from: o.Zxid})
		}
	}
	for i := range h {
		if o := &h[i]; o.Kind.reads() && o.Return != 0 && o.Code == jute.OK && lost[o.Got] {
			delete(lost, o.Got)
			s := nodeState{exists: true, value: o.Got, version: o.Stat.Version}
			lines[o.Path].spans = append(lines[o.Path].spans, span{state: s, from: o.Stat.Mzxid})
		}
	}
	for path, line := range lines {
		slices.SortFunc(line.spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		for i := range line.spans {
			if line.spans[i].to = math.MaxInt64; i+1 < len(line.spans) {
				line.spans[i].to = line.spans[i+1].from
			}
			if line.spans[i].from == line.spans[i].to {
				return nil, fmt.Errorf("%s: two states at zxid 0x%x", path, line.spans[i].to)
			}
		}
	}
	return lines, nil
}

// place returns the earliest position, not before low, at which a read's answer is right.
func (l *timeline) place(o *Op, low int64) (int64, error) {
	switch {
	case o.Code != jute.OK && o.Code != jute.NoNode:
		return low, fmt.Errorf("a read must not fail so: %v", o)
	case o.Code == jute.NoNode && l.blurred:
		return low, nil
	}
	for _, s := range l.spans {
		var right bool
		if o.Code == jute.OK {
			right = s.state == nodeState{exists: true, value: o.Got, version: o.Stat.Version} && s.from == o.Stat.Mzxid
		} else {
			right = !s.state.exists
		}
		if at := max(s.from, low); right && at < s.to && at <= o.Zxid {
			return at, nil
		}
	}
	var near []string
	for _, s := range l.spans {
		if s.to > low {
			near = append(near, fmt.Sprintf("0x%x: %+v", s.from, s.state))
		}
		if len(near) == 8 {
			break
		}
	}
	return low, fmt.Errorf("the client was at zxid 0x%x and reads what was not there from then on: %v; states: %s", low, o, strings.Join(near, ", "))
}
