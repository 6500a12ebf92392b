package sim

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// message is something on its way from one broker to another. It is lost when the receiver does not run or nothing passes; it may arrive twice,
// and after others that were sent later.
type message struct {
	from, to cluster.BrokerID
	seq      int
	body     body
	copied   bool // it stays after its arrival, to arrive again
	held     bool // it takes long
}

// body is what a message says.
type body interface {
	arrive(w *world, to *broker, m *message)
	String() string
}

// String returns the message as transcripts show it.
func (m *message) String() string { return fmt.Sprintf("#%d %d→%d %s", m.seq, m.from, m.to, m.body) }

// send puts a message on its way and returns its number.
func (w *world) send(from, to cluster.BrokerID, b body) int {
	w.seq++
	m := &message{from: from, to: to, seq: w.seq, body: b}
	w.net = append(w.net, m)
	if w.out != nil {
		w.trace("    sent: %s", m)
	}
	return w.seq
}

// deliver lets a message arrive.
func (w *world) deliver(i int, again bool) {
	m := w.net[i]
	if _, once := m.body.(*wishes); again && !m.copied && !once { // a call is made once; whoever makes it again makes another
		m.copied = true
	} else {
		w.net = slices.Delete(w.net, i, i+1)
	}
	to := w.broker(m.to)
	if !to.up || w.cut[[2]cluster.BrokerID{m.from, m.to}] {
		w.trace("    cannot arrive: %s", m)
		return
	}
	if w.out != nil {
		w.trace("    arrives: %s", m)
	}
	m.body.arrive(w, to, m)
}

// drop loses a message.
func (w *world) drop(i int) {
	w.trace("    lost: %s", w.net[i])
	w.net = slices.Delete(w.net, i, i+1)
}
