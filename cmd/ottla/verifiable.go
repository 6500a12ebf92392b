package main

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/ottla/ottla/proto/kerr"
)

// What kafka-verifiable-producer and kafka-verifiable-consumer have in common (F§7.13): they tell what they do as JSON, one object in a line of
// standard output, for programs that check what became of every record.

// event is what all lines begin with.
type event struct {
	// Timestamp is when the line was made, in milliseconds since the epoch.
	Timestamp int64 `json:"timestamp"`
	// Name says what happened.
	Name string `json:"name"`
}

// eventNow is an event that happens now.
func eventNow(name string) event { return event{time.Now().UnixMilli(), name} }

// eventLog writes events, each with one write. It is safe for concurrent use.
type eventLog struct {
	mu  sync.Mutex
	out *json.Encoder
	err error // of the first write that failed: nobody reads any more
}

// newEventLog returns a log that writes to w.
func newEventLog(w io.Writer) *eventLog {
	l := &eventLog{out: json.NewEncoder(w)}
	l.out.SetEscapeHTML(false)
	return l
}

// print writes an event.
func (l *eventLog) print(e any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.out.Encode(e); err != nil && l.err == nil {
		l.err = err
	}
}

// failed returns what went wrong with writing.
func (l *eventLog) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// javaException names the class that Kafka's Java client reports an error as, in the words of its Class.toString.
func javaException(err error) string { return "class " + exceptionClass(kerr.CodeOf(err)) }
