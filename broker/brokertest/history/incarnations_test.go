package history

import (
	"errors"
	"testing"

	"github.com/ottla/ottla/proto/cluster"
)

// remade is a topic that was deleted and made again while all goes well, until a test plants a fault: three records in the old one, of which the last reading
// saw two, one that nobody can tell of, and three in the new one.
func remade() (w *world, maybe *Send, old *Reader) {
	w = newWorld(2)
	old = w.h.Final(p0)
	for i, v := range w.log {
		old.Got(p0, cluster.Offset(i), v)
	}
	w.send("a", "a-late") // behind the last reading
	maybe = w.h.Send("c", p0, "c-maybe")
	w.h.End(p0, 3, 4)
	w.h.Deleting(p0)
	w.h.End(p0, 0, 0)
	w.log = nil
	w.h.Created(p0)
	w.h.End(p0, 0, 0)
	return w, maybe, old
}

// TestEachIncarnationIsJudgedOnItsOwn plants one fault at a time.
func TestEachIncarnationIsJudgedOnItsOwn(t *testing.T) {
	for name, tc := range map[string]struct {
		plant func(w *world, maybe *Send, old *Reader)
		want  string
	}{
		"nothing": {func(w *world, maybe *Send, old *Reader) {}, ""},
		"one that got into the new topic": {func(w *world, maybe *Send, old *Reader) {
			w.log = append(w.log, "c-maybe")
			maybe.Acked(3)
			w.live.Got(p0, 3, "c-maybe")
		}, ""},
		"one that got into the old topic": {func(w *world, maybe *Send, old *Reader) { maybe.Acked(3) }, ""},
		"one that got nowhere":            {func(w *world, maybe *Send, old *Reader) { maybe.Failed(errors.New("timeout")) }, ""},
		"one that got into both": {func(w *world, maybe *Send, old *Reader) {
			old.Got(p0, 2, "a-late")
			old.Got(p0, 3, "c-maybe")
			w.log = append(w.log, "c-maybe")
			maybe.Acked(3)
		}, ""},
		"a record of the old topic in the new":          {func(w *world, maybe *Send, old *Reader) { w.log = append(w.log, "a0") }, "old-record"},
		"and one that only an acknowledgement tells of": {func(w *world, maybe *Send, old *Reader) { w.log = append(w.log, "a-late") }, "old-record"},
		"a record lost in the old topic":                {func(w *world, maybe *Send, old *Reader) { old.polls[1].value = "c-maybe" }, "inconsistent-offsets lost-write"},
		"a record lost in the new topic":                {func(w *world, maybe *Send, old *Reader) { w.log[1] = "c-maybe" }, "inconsistent-offsets lost-write"},
		"the new topic too short":                       {func(w *world, maybe *Send, old *Reader) { w.log = w.log[:2] }, "unseen"},
		"a reader that gets the old after the new":      {func(w *world, maybe *Send, old *Reader) { w.live.Got(p0, 3, "a-late") }, "old-record"},
		"a reader that skips in the new":                {func(w *world, maybe *Send, old *Reader) { w.live.polls = append(w.live.polls[:4], w.live.polls[5:]...) }, "poll-skip"},
		"two in the wrong order in the new": {func(w *world, maybe *Send, old *Reader) {
			w.log = append(w.log, "second", "first")
			w.h.Send("d", p0, "first").Acked(4)
			w.h.Send("d", p0, "second").Acked(3)
		}, "nonmonotonic-send"},
		"one twice in the new": {func(w *world, maybe *Send, old *Reader) { w.log = append(w.log, "a0-new") }, "duplicate"},
		"the end goes back":    {func(w *world, maybe *Send, old *Reader) { w.h.End(p0, 3, 0); w.h.End(p0, 2, 0) }, "end-back"},
	} {
		t.Run(name, func(t *testing.T) {
			w, maybe, old := remade()
			for _, v := range []string{"a0-new", "b1-new", "a2-new"} {
				w.send(v[:1], v)
			}
			tc.plant(w, maybe, old)
			w.final()
			r, err := w.h.Check(Options{Idempotent: true})
			if got := kinds(r.Anomalies); err != nil || got != tc.want {
				t.Errorf("found %q (%v), want %q: %v", got, err, tc.want, r)
			}
		})
	}
}

// TestATopicThatNobodyReadBeforeItsDeletion is judged by what consumers saw.
func TestATopicThatNobodyReadBeforeItsDeletion(t *testing.T) {
	w := newWorld(4)
	w.live.Got(p0, 2, "a2")
	w.h.Deleting(p0)
	w.h.Created(p0)
	w.log = nil
	w.send("a", "new")
	w.final()
	r, err := w.h.Check(Options{Idempotent: true})
	if got := kinds(r.Anomalies); err != nil || got != string(NonmonotonicPoll) {
		t.Errorf("found %q, %v", got, err)
	}
}
