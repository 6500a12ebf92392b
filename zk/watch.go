package zk

import (
	"context"
	"sync"
)

// EventType tells what a watch saw.
type EventType int32

// The kinds of events. The first four have ZooKeeper's numbers.
const (
	// EventCreated means that a node watched by Exists came into being.
	EventCreated EventType = 1
	// EventDeleted means that a watched node is gone.
	EventDeleted EventType = 2
	// EventDataChanged means that the data of a node watched by Get or Exists was set.
	EventDataChanged EventType = 3
	// EventChildrenChanged means that a child of a node watched by Children came or went.
	EventChildrenChanged EventType = 4
	// EventResync means that the session has a new connection. No watch set before counts any more: read everything again.
	EventResync EventType = 100
)

// String returns the event's name.
func (t EventType) String() string {
	switch t {
	case EventCreated:
		return "created"
	case EventDeleted:
		return "deleted"
	case EventDataChanged:
		return "data changed"
	case EventChildrenChanged:
		return "children changed"
	case EventResync:
		return "resync"
	}
	return "unknown"
}

// Event says that something may have changed. It is a hint: what there is now, only a read tells, and the read sets the
// watch again. Events may come although nothing changed since the last read; a change never goes without one.
type Event struct {
	// Type is what happened.
	Type EventType
	// Path is the watched node, relative to the chroot. Empty for [EventResync].
	Path string
}

// watchKey names one watch of a server: it keeps data watches and child watches by path.
type watchKey struct {
	path     string // with the chroot
	children bool
}

// registry knows which watchers wait for which watch. A server holds at most one watch per key and connection, and each
// fires once; so what fires is told to all who asked, and forgotten.
type registry struct {
	mu       sync.Mutex
	watchers map[*Watcher]struct{}
	keys     map[watchKey]map[*Watcher]struct{}
}

// init makes the registry usable.
func (r *registry) init() {
	r.watchers = make(map[*Watcher]struct{})
	r.keys = make(map[watchKey]map[*Watcher]struct{})
}

// arm notes that w wants the watch that its next read sets. It comes before the read is sent, because the event may
// overtake the caller. If an older watch of the same key fires in between, w hears of it, and since an event makes it read
// again, nothing is lost.
func (r *registry) arm(k watchKey, w *Watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, open := r.watchers[w]; !open {
		return
	}
	if r.keys[k] == nil {
		r.keys[k] = make(map[*Watcher]struct{})
	}
	r.keys[k][w] = struct{}{}
}

// wanted reports whether a read has to set the watch.
func (r *registry) wanted(k watchKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys[k]) > 0
}

// fire hands an event to all who wait for it.
func (r *registry) fire(t EventType, path string, strip func(string) string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := make(map[*Watcher]struct{})
	for _, children := range []bool{false, true} {
		if fires := t == EventDeleted || (t == EventChildrenChanged) == children; !fires {
			continue
		}
		k := watchKey{path, children}
		for w := range r.keys[k] {
			told[w] = struct{}{}
		}
		delete(r.keys, k)
	}
	e := Event{Type: t, Path: strip(path)}
	for w := range told {
		w.push(e)
	}
}

// resync tells every watcher that its watches are gone.
func (r *registry) resync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.keys)
	for w := range r.watchers {
		w.push(Event{Type: EventResync})
	}
}

// wake makes every watcher look whether the session is over.
func (r *registry) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.watchers {
		w.signal()
	}
}

// Watcher is one consumer's queue of watch events in one session. Its reads are a session's, and set a one-shot watch
// besides: Get on the data of a node that exists, Exists on data, creation and deletion, Children on the list of children.
// Reading again while a watch is set is cheap and sets no second one.
//
// The reads may be called concurrently; Next, Take and Ready belong to one goroutine.
type Watcher struct {
	session *Session

	mu    sync.Mutex
	queue []Event
	ready chan struct{} // has a token when the queue is not empty
}

// Watch returns a new, empty queue. Close it when done; the session's end makes it useless as well.
func (s *Session) Watch() *Watcher {
	w := &Watcher{session: s, ready: make(chan struct{}, 1)}
	s.watch.mu.Lock()
	s.watch.watchers[w] = struct{}{}
	s.watch.mu.Unlock()
	if s.over.Load() {
		w.signal()
	}
	return w
}

// push appends an event. It never blocks: the queue has no bound, because the number of watches has one.
func (w *Watcher) push(e Event) {
	w.mu.Lock()
	w.queue = append(w.queue, e)
	w.mu.Unlock()
	w.signal()
}

// signal puts the token there.
func (w *Watcher) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Ready returns a channel that delivers a value when Take has something to return, or the session is over.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Take returns all queued events, oldest first, and empties the queue.
func (w *Watcher) Take() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := w.queue
	w.queue = nil
	return q
}

// Next returns the oldest event, waiting for one if necessary. Once the session is over and the queue is empty it returns
// the session's error.
func (w *Watcher) Next(ctx context.Context) (Event, error) {
	for {
		w.mu.Lock()
		if len(w.queue) > 0 {
			e := w.queue[0]
			w.queue = w.queue[1:]
			w.mu.Unlock()
			return e, nil
		}
		w.mu.Unlock()
		if err := w.session.Err(); err != nil {
			return Event{}, err
		}
		select {
		case <-w.ready:
		case <-w.session.life.Done():
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Close forgets all watches of this watcher. Events already queued stay readable.
func (w *Watcher) Close() {
	r := &w.session.watch
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers, w)
	for k, set := range r.keys {
		delete(set, w)
		if len(set) == 0 {
			delete(r.keys, k)
		}
	}
}

// Get reads a node's data and sets a watch on it, if the node exists.
func (w *Watcher) Get(ctx context.Context, path string) ([]byte, Stat, error) {
	return w.session.get(ctx, path, w)
}

// Exists looks for a node and sets a watch on its creation, its data and its deletion.
func (w *Watcher) Exists(ctx context.Context, path string) (Stat, bool, error) {
	return w.session.exists(ctx, path, w)
}

// Children lists a node's children and sets a watch on the list, if the node exists.
func (w *Watcher) Children(ctx context.Context, path string) ([]string, Stat, error) {
	return w.session.children(ctx, path, w)
}
