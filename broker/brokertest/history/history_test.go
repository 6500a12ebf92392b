package history

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

var (
	p0 = cluster.TopicPartition{Topic: "t"}
	p1 = cluster.TopicPartition{Topic: "t", Partition: 1}
)

// clock advances a second each time it is asked.
func clock() func() time.Time {
	now := time.Unix(0, 0)
	return func() time.Time { now = now.Add(time.Second); return now }
}

// kinds returns the kinds of anomalies, each once, sorted.
func kinds(found []Anomaly) string {
	var out []string
	for _, a := range found {
		out = append(out, string(a.Kind))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// world is a partition that everything goes well with, until a test plants a fault: producers a and b take turns, a live reader sees everything.
type world struct {
	h     *History
	log   []string
	sends []*Send
	live  *Reader
}

func newWorld(n int) *world {
	w := &world{h: New(clock())}
	w.live = w.h.Reader("live")
	for i := range n {
		w.send(string("ab"[i%2]), string("ab"[i%2])+string(rune('0'+i)))
	}
	return w
}

// send sends, writes and acknowledges a record, and the live reader gets it.
func (w *world) send(producer, value string) {
	s := w.h.Send(producer, p0, value)
	at := cluster.Offset(len(w.log))
	w.log = append(w.log, value)
	s.Acked(at)
	w.sends = append(w.sends, s)
	w.live.Got(p0, at, value)
}

// final reads the log.
func (w *world) final() {
	r := w.h.Final(p0)
	for i, v := range w.log {
		r.Got(p0, cluster.Offset(i), v)
	}
}

// TestEachAnomalyIsFound plants one fault at a time in a history that is good without it.
func TestEachAnomalyIsFound(t *testing.T) {
	both := []Options{{}, {Idempotent: true}}
	for name, tc := range map[string]struct {
		plant   func(w *world)
		options []Options
		want    string
	}{
		"nothing":               {func(w *world) {}, both, ""},
		"an acked record lost":  {func(w *world) { w.log = slices.Delete(w.log, 2, 3) }, both, "inconsistent-offsets lost-write unseen"},
		"the last acked record": {func(w *world) { w.h.Send("a", p0, "last").Acked(6) }, both, "unseen"},
		"a record acked without an offset": {func(w *world) {
			w.h.Send("a", p0, "somewhere").Acked(cluster.UnknownOffset)
			w.log = append(w.log, "somewhere")
		}, both, ""},
		"a record acked without an offset that is nowhere": {func(w *world) { w.h.Send("a", p0, "nowhere").Acked(cluster.UnknownOffset) }, both, "lost-write"},
		"an acked record overwritten": {func(w *world) {
			w.h.Send("c", p0, "new").Failed(errors.New("timeout"))
			w.log[2] = "new"
		}, both, "inconsistent-offsets lost-write"},
		"a record overwritten before it was read": {func(w *world) {
			w.h.Send("c", p0, "x").Acked(6)
			w.h.Send("d", p0, "y")
			w.log = append(w.log, "y")
		}, both, "inconsistent-offsets lost-write"},
		"two swapped": {func(w *world) { w.log[2], w.log[4] = w.log[4], w.log[2] }, both, "inconsistent-offsets lost-write nonmonotonic-send"},
		"two of one producer in the wrong order": {func(w *world) {
			first, second := w.h.Send("c", p0, "first"), w.h.Send("c", p0, "second")
			w.log = append(w.log, "second", "first")
			second.Acked(6)
			first.Acked(7)
		}, both, "nonmonotonic-send"},
		"one given up behind its successor, which only idempotence forbids": {func(w *world) {
			first, second := w.h.Send("c", p0, "first"), w.h.Send("c", p0, "second")
			first.Failed(errors.New("timeout"))
			w.log = append(w.log, "second", "first")
			second.Acked(6)
		}, both[1:], "nonmonotonic-send"},
		"and without it": {func(w *world) {
			first, second := w.h.Send("c", p0, "first"), w.h.Send("c", p0, "second")
			first.Failed(errors.New("timeout"))
			w.log = append(w.log, "second", "first")
			second.Acked(6)
		}, both[:1], ""},
		"one twice, with idempotence":    {func(w *world) { w.log = append(w.log, "a2") }, both[1:], "duplicate"},
		"one twice, without":             {func(w *world) { w.log = append(w.log, "a2") }, both[:1], ""},
		"one offset for two records":     {func(w *world) { w.h.Send("c", p0, "again").Acked(3) }, both, "inconsistent-offsets lost-write stale-ack"},
		"a record that nobody sent":      {func(w *world) { w.log = append(w.log, "who?") }, both, "phantom"},
		"a record in the wrong place":    {func(w *world) { w.h.Send("c", p1, "astray"); w.h.Final(p1); w.log = append(w.log, "astray") }, both, "phantom"},
		"a reader that goes back":        {func(w *world) { w.live.Got(p0, 3, "b3") }, both, "nonmonotonic-poll"},
		"a reader that gets one twice":   {func(w *world) { w.live.Got(p0, 5, "b5") }, both, "nonmonotonic-poll"},
		"a reader that sees what goes":   {func(w *world) { w.h.Send("c", p0, "gone"); w.live.Got(p0, 6, "gone"); w.send2("d", "other") }, both, "inconsistent-offsets stale-ack"},
		"a reader that leaves one out":   {func(w *world) { r := w.h.Reader("2"); r.Got(p0, 1, "b1"); r.Got(p0, 3, "b3") }, both, "poll-skip"},
		"a reader that begins later":     {func(w *world) { r := w.h.Reader("2"); r.Got(p0, 3, "b3"); r.Got(p0, 4, "a4") }, both, ""},
		"an end that moves on":           {func(w *world) { w.h.End(p0, 4, 1); w.h.End(p0, 4, 2); w.h.End(p1, 0, 0); w.h.End(p0, 6, 2) }, both, ""},
		"an end that goes back":          {func(w *world) { w.h.End(p0, 4, 1); w.h.End(p0, 3, 1) }, both, "end-back"},
		"an end of an earlier leader":    {func(w *world) { w.h.End(p0, 4, 2); w.h.End(p0, 5, 1) }, both, "end-back"},
		"a record whose fate is unknown": {func(w *world) { w.h.Send("c", p0, "?") }, both, ""},
		"one that was written after all": {func(w *world) { w.h.Send("c", p0, "?").Failed(errors.New("timeout")); w.log = append(w.log, "?") }, both, ""},
	} {
		for _, o := range tc.options {
			t.Run(name, func(t *testing.T) {
				w := newWorld(6)
				tc.plant(w)
				w.final()
				r, err := w.h.Check(o)
				if err != nil {
					t.Fatal(err)
				}
				if got := kinds(r.Anomalies); got != tc.want {
					t.Errorf("with %+v found %q, want %q\n%s", o, got, tc.want, r)
				}
			})
		}
	}
}

// send2 writes and acknowledges a record without the live reader.
func (w *world) send2(producer, value string) {
	s := w.h.Send(producer, p0, value)
	w.log = append(w.log, value)
	s.Acked(cluster.Offset(len(w.log) - 1))
}

func TestAHoleInTheLog(t *testing.T) {
	h := New(clock())
	for _, v := range []string{"a", "b"} {
		h.Send("p", p0, v)
	}
	r := h.Final(p0)
	r.Got(p0, 0, "a")
	r.Got(p0, 2, "b")
	got, err := h.Check(Options{})
	if err != nil || kinds(got.Anomalies) != "hole" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTheNumbers(t *testing.T) {
	w := newWorld(6)
	w.h.Send("c", p0, "failed").Failed(errors.New("timeout"))
	w.h.Send("c", p0, "open")
	w.h.Send("c", p0, "lost").Acked(9)
	w.log = append(w.log, "a2", "failed")
	w.final()
	r, err := w.h.Check(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 9 || r.Acked != 7 || r.Failed != 1 || r.FirstError == nil || r.Read != 6 || r.Logged != 8 || r.Lost != 1 || r.Duplicated != 1 || r.Gap != time.Second {
		t.Errorf("%+v", r)
	}
	if w.h.Acknowledged("a") != 3 || w.h.Acknowledged("c") != 1 {
		t.Error(w.h.Acknowledged("a"), w.h.Acknowledged("c"))
	}
	if s := r.String(); !strings.Contains(s, `unseen: t-0: "lost" was acknowledged at offset 9, and the partition ends at 8`) {
		t.Error(s)
	}
}

// TestNothingIsJudgedOnHalfTheEvidence wants an error when the last reading is missing, or values do not tell records apart.
func TestNothingIsJudgedOnHalfTheEvidence(t *testing.T) {
	h := New(clock())
	h.Send("a", p0, "x")
	if _, err := h.Check(Options{}); err == nil || !strings.Contains(err.Error(), "t-0 was not read to its end") {
		t.Error(err)
	}
	h.Final(p0)
	h.Send("b", p0, "x")
	if _, err := h.Check(Options{}); err == nil || !strings.Contains(err.Error(), "unique") {
		t.Error(err)
	}
}
