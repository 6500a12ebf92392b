// Package watch keeps which connection watches which path, and says whom a change of the tree is to be told (Z§6).
//
// There are two tables, as in ZooKeeper: data watches (set by getData and exists) and child watches (getChildren). A
// standard watch is one-shot: it is gone when it has fired. addWatch puts a persistent watch into both tables, where
// it stays; a recursive one hears of every node at or below its path, but never of children lists.
//
//	change      data table on path   child table on path             child table on parent
//	created     NodeCreated          -                               NodeChildrenChanged
//	deleted     NodeDeleted          NodeDeleted, unless just told   NodeChildrenChanged
//	data        NodeDataChanged      -                               -
//
// The modes of one watcher on one path live side by side: a getData with watch does not disturb a persistent watch on
// the same path, and the other way round.
//
// The package is pure: no locks, no IO. A Set is owned by one goroutine.
package watch

import (
	"strings"

	"github.com/ottla/ottla/zk/jute"
)

// Mode is one of the ways in which a path can be watched; they combine as bits.
type Mode uint8

// The modes.
const (
	Standard   Mode = 1 << iota // one-shot
	Persistent                  // stays, this path only
	Recursive                   // stays, this path and everything below
)

// table is one of the two tables: path, watcher, modes.
type table[W comparable] map[string]map[W]Mode

func (t table[W]) add(path string, w W, m Mode) {
	at := t[path]
	if at == nil {
		at = make(map[W]Mode, 1)
		t[path] = at
	}
	at[w] |= m
}

// drop takes modes away and reports whether any of them was there.
func (t table[W]) drop(path string, w W, m Mode) bool {
	at := t[path]
	have, ok := at[w]
	if !ok || have&m == 0 {
		return false
	}
	if have &^= m; have != 0 {
		at[w] = have
		return true
	}
	delete(at, w)
	if len(at) == 0 {
		delete(t, path)
	}
	return true
}

// Set is all the watches of a server. The zero value is not ready; use New.
type Set[W comparable] struct {
	data, child table[W]
	paths       map[W]map[string]struct{} // every path on which a watcher has anything
	weight      map[W]int                 // bytes that a watcher's watches take, roughly
	recursive   int                       // recursive registrations; 0 spares the walk up the tree
}

// New returns an empty set.
func New[W comparable]() *Set[W] {
	return &Set[W]{data: make(table[W]), child: make(table[W]), paths: make(map[W]map[string]struct{}), weight: make(map[W]int)}
}

// overhead is what a watch takes beside its path, roughly.
const overhead = 200

func (s *Set[W]) note(path string, w W) {
	at := s.paths[w]
	if at == nil {
		at = make(map[string]struct{}, 1)
		s.paths[w] = at
	}
	if _, known := at[path]; !known {
		at[path] = struct{}{}
		s.weight[w] += len(path) + overhead
	}
}

// Weight returns roughly how many bytes a watcher's watches take.
func (s *Set[W]) Weight(w W) int { return s.weight[w] }

// forget drops the reverse entry if nothing is left on the path.
func (s *Set[W]) forget(path string, w W) {
	if s.data[path][w] != 0 || s.child[path][w] != 0 {
		return
	}
	at := s.paths[w]
	if _, known := at[path]; known {
		delete(at, path)
		s.weight[w] -= len(path) + overhead
	}
	if len(at) == 0 {
		delete(s.paths, w)
		delete(s.weight, w)
	}
}

// AddData registers a one-shot data watch. Doing so twice is as good as once.
func (s *Set[W]) AddData(path string, w W) {
	s.data.add(path, w, Standard)
	s.note(path, w)
}

// AddChild registers a one-shot child watch.
func (s *Set[W]) AddChild(path string, w W) {
	s.child.add(path, w, Standard)
	s.note(path, w)
}

// AddPersistent registers a persistent watch, recursive or not.
func (s *Set[W]) AddPersistent(path string, w W, recursive bool) {
	m := Persistent
	if recursive {
		m = Recursive
		if s.data[path][w]&Recursive == 0 {
			s.recursive++
		}
	}
	s.data.add(path, w, m)
	s.child.add(path, w, m)
	s.note(path, w)
}

// typeMasks says which modes of which table a watcher type means, in checkWatches and removeWatches.
var typeMasks = map[jute.WatcherType]struct{ data, child Mode }{
	jute.WatcherChildren:            {0, Standard},
	jute.WatcherData:                {Standard, 0},
	jute.WatcherAny:                 {Standard | Persistent | Recursive, Standard | Persistent | Recursive},
	jute.WatcherPersistent:          {Persistent, Persistent},
	jute.WatcherPersistentRecursive: {Recursive, Recursive},
}

// ValidType reports whether t is one of the watcher types.
func ValidType(t jute.WatcherType) bool { _, ok := typeMasks[t]; return ok }

// Has answers checkWatches.
func (s *Set[W]) Has(path string, w W, t jute.WatcherType) bool {
	m := typeMasks[t]
	return s.data[path][w]&m.data != 0 || s.child[path][w]&m.child != 0
}

// Remove answers removeWatches: it takes away what t means and reports whether there was anything.
func (s *Set[W]) Remove(path string, w W, t jute.WatcherType) bool {
	m := typeMasks[t]
	if s.data[path][w]&m.data&Recursive != 0 {
		s.recursive--
	}
	inData := s.data.drop(path, w, m.data)
	inChild := s.child.drop(path, w, m.child)
	if inData || inChild {
		s.forget(path, w)
	}
	return inData || inChild
}

// Drop forgets a watcher altogether, as when its connection ends.
func (s *Set[W]) Drop(w W) {
	for path := range s.paths[w] {
		if s.data[path][w]&Recursive != 0 {
			s.recursive--
		}
		s.data.drop(path, w, Standard|Persistent|Recursive)
		s.child.drop(path, w, Standard|Persistent|Recursive)
	}
	delete(s.paths, w)
	delete(s.weight, w)
}

// Change tells everybody who is concerned about one change of a node: event is NodeCreated, NodeDeleted or
// NodeDataChanged, parent the path of the node's parent (ignored for NodeDataChanged). One-shot watches that fire are
// gone afterwards. tell is called once per watcher and event, the node's event before the parent's.
func (s *Set[W]) Change(event jute.EventType, path, parent string, tell func(w W, event jute.EventType, path string)) {
	told := s.fire(s.data, path, event, nil, tell)
	switch event {
	case jute.EventNodeDeleted:
		s.fire(s.child, path, event, told, tell)
		s.fire(s.child, parent, jute.EventNodeChildrenChanged, nil, tell)
	case jute.EventNodeCreated:
		s.fire(s.child, parent, jute.EventNodeChildrenChanged, nil, tell)
	case jute.EventNodeDataChanged, jute.EventNodeChildrenChanged:
	}
}

// fire triggers one table at one path and returns whom it told; those in except are passed over, though their one-shot
// watches are used up all the same.
func (s *Set[W]) fire(
	t table[W], path string, event jute.EventType, except map[W]struct{}, tell func(W, jute.EventType, string),
) map[W]struct{} {
	var told map[W]struct{}
	hear := func(w W) {
		if _, skip := except[w]; skip {
			return
		}
		if _, again := told[w]; again {
			return
		}
		if told == nil {
			told = make(map[W]struct{})
		}
		told[w] = struct{}{}
		tell(w, event, path)
	}
	for w, m := range t[path] {
		if m&(Standard|Persistent) != 0 || event != jute.EventNodeChildrenChanged {
			hear(w)
		}
		if m&Standard != 0 && t.drop(path, w, Standard) {
			s.forget(path, w)
		}
	}
	if s.recursive == 0 || event == jute.EventNodeChildrenChanged {
		return told
	}
	for up := path; up != "/" && up != ""; {
		if up = up[:strings.LastIndexByte(up, '/')]; up == "" {
			up = "/"
		}
		for w, m := range t[up] {
			if m&Recursive != 0 {
				hear(w)
			}
		}
	}
	return told
}

// Paths returns the number of paths on which anybody has a watch.
func (s *Set[W]) Paths() int {
	n := len(s.data)
	for path := range s.child {
		if s.data[path] == nil {
			n++
		}
	}
	return n
}

// Watchers returns the number of watchers that watch anything.
func (s *Set[W]) Watchers() int { return len(s.paths) }

// Count returns the number of registrations: (path, watcher, table).
func (s *Set[W]) Count() int {
	n := 0
	for _, t := range []table[W]{s.data, s.child} {
		for _, at := range t {
			n += len(at)
		}
	}
	return n
}

// ByWatcher returns the paths that each watcher watches, unordered.
func (s *Set[W]) ByWatcher() map[W][]string {
	out := make(map[W][]string, len(s.paths))
	for w, at := range s.paths {
		for path := range at {
			out[w] = append(out[w], path)
		}
	}
	return out
}
