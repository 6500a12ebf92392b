package shell

import (
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/zk/jute"
)

// watchKind is a kind of watch that a client keeps in mind.
type watchKind int

// The kinds. Those of dataWatch, existWatch and childWatch are over with their first event.
const (
	dataWatch watchKind = iota
	existWatch
	childWatch
	persistentWatch
	recursiveWatch
	watchKinds
)

// watchSet is what a session watches, by paths on the server. It is what decides whether an event concerns anybody, what is watched again after a
// reconnection, and which watches a removal ends.
type watchSet [watchKinds]map[string]bool

// add notes a watch.
func (w *watchSet) add(kind watchKind, path string) {
	if w[kind] == nil {
		w[kind] = map[string]bool{}
	}
	w[kind][path] = true
}

// take removes a watch and reports whether there was one.
func (w *watchSet) take(kind watchKind, path string) bool {
	had := w[kind][path]
	delete(w[kind], path)
	return had
}

// fire notes an event and reports whether it was waited for.
func (w *watchSet) fire(e jute.EventType, path string) bool {
	kinds := []watchKind{dataWatch, existWatch}
	switch e {
	case jute.EventNodeChildrenChanged:
		kinds = []watchKind{childWatch}
	case jute.EventNodeDeleted:
		kinds = []watchKind{dataWatch, existWatch, childWatch}
	case jute.EventNodeCreated, jute.EventNodeDataChanged:
	}
	hit := w[persistentWatch][path]
	for _, k := range kinds {
		hit = w.take(k, path) || hit
	}
	if e == jute.EventNodeChildrenChanged {
		return hit // recursive watches tell of the children themselves
	}
	for p := path; !hit && p != ""; p = p[:max(strings.LastIndexByte(p, '/'), 0)] {
		hit = w[recursiveWatch][p]
	}
	return hit || w[recursiveWatch]["/"]
}

// removed are the events that ZooKeeper's client makes of the watches that a removal ended.
var removed = []struct {
	name  string
	kinds []watchKind
	of    []jute.WatcherType
}{
	{"ChildWatchRemoved", []watchKind{childWatch}, []jute.WatcherType{jute.WatcherChildren, jute.WatcherAny}},
	{"DataWatchRemoved", []watchKind{dataWatch, existWatch}, []jute.WatcherType{jute.WatcherData, jute.WatcherAny}},
	{"PersistentWatchRemoved", []watchKind{persistentWatch, recursiveWatch}, []jute.WatcherType{jute.WatcherAny}},
}

// remove forgets the watches of a path and returns the names of the events about that.
func (w *watchSet) remove(t jute.WatcherType, path string) []string {
	var events []string
	for _, r := range removed {
		if !slices.Contains(r.of, t) {
			continue
		}
		had := false
		for _, k := range r.kinds {
			had = w.take(k, path) || had
		}
		if had {
			events = append(events, r.name)
		}
	}
	return events
}

// request returns what to ask of a server after a reconnection; nil when nothing is watched.
func (w *watchSet) request(zxid int64) *jute.SetWatchesRequest {
	list := func(k watchKind) []string { return slices.Sorted(maps.Keys(w[k])) }
	r := &jute.SetWatchesRequest{
		RelativeZxid: zxid, V2: true,
		Data: list(dataWatch), Exist: list(existWatch), Child: list(childWatch), Persistent: list(persistentWatch), Recursive: list(recursiveWatch),
	}
	if len(r.Data)+len(r.Exist)+len(r.Child)+len(r.Persistent)+len(r.Recursive) == 0 {
		return nil
	}
	return r
}
