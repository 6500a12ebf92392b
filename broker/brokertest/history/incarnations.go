package history

import (
	"cmp"

	"github.com/ottla/ottla/proto/cluster"
)

// incarnation is a partition between two deletions of its topic. The first has the number 0. Each is judged on its own: it has offsets, a log and
// readers of its own.
type incarnation struct {
	tp cluster.TopicPartition
	n  int
}

func (in incarnation) compare(other incarnation) int {
	return cmp.Or(in.tp.Compare(other.tp), cmp.Compare(in.n, other.n))
}

// Deleting records that the topic of a partition is about to be deleted. What is sent from now on until [History.Created] may get into the one or the other,
// and so may what has no acknowledgement yet. What [History.Final] has read before has to be right; what was acknowledged behind that is gone.
func (h *History) Deleting(tp cluster.TopicPartition) { h.turn(tp, 1) }

// Created records that the topic of a partition was created again.
func (h *History) Created(tp cluster.TopicPartition) { h.turn(tp, 0) }

// turn moves a partition on: its phase is even while a topic lives, and odd while it is deleted and made again.
func (h *History) turn(tp cluster.TopicPartition, odd int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phases[tp]%2 != odd {
		h.phases[tp]++
		delete(h.ends, tp)
	}
}

// lives returns the incarnation that lives, or lived last.
func (h *History) lives(tp cluster.TopicPartition) incarnation {
	return incarnation{tp, h.phases[tp] / 2}
}

// certain returns the incarnation that a record is known to have got into: it was sent and acknowledged while that lived.
func (s *Send) certain() (incarnation, bool) {
	return incarnation{s.tp, s.sentIn / 2}, s.outcome == acked && s.ackedIn == s.sentIn && s.sentIn%2 == 0
}

// homes returns which incarnation each value got into, as far as that is known, for partitions that were deleted. A record that was acknowledged in one and
// is in another is an anomaly.
func (h *History) homes() (homes map[string]incarnation, found []Anomaly) {
	homes = map[string]incarnation{}
	certain := map[string]incarnation{}
	for _, s := range h.sends {
		if in, ok := s.certain(); ok && h.phases[s.tp] > 0 {
			homes[s.value], certain[s.value] = in, in
		}
	}
	for in, r := range h.finals {
		if h.phases[in.tp] == 0 {
			continue
		}
		for _, x := range r.polls {
			if at, ok := certain[x.value]; ok && at != in && at.tp == in.tp {
				found = append(found, Anomaly{OldRecord, in.tp, "it was deleted, and " + x.value + ", which had been acknowledged in another topic of that name, is there"})
				continue
			}
			if at, ok := homes[x.value]; !ok || at.n < in.n {
				homes[x.value] = in // the last one, if it was written again after the deletion
			}
		}
	}
	return homes, found
}

// split divides what a reader got by incarnation. The last reader of an incarnation got nothing else. Others cannot get anything of an incarnation after
// something of a later one; a record of which nothing is known belongs to where the reader is, or to the next when offsets begin anew.
func (h *History) split(r *Reader, homes map[string]incarnation) (parts map[incarnation]*Reader, found []Anomaly) {
	parts = map[incarnation]*Reader{}
	now, last := map[cluster.TopicPartition]int{}, map[cluster.TopicPartition]cluster.Offset{}
	for in, final := range h.finals {
		if final == r {
			return map[incarnation]*Reader{in: r}, nil
		}
	}
	for _, x := range r.polls {
		if h.phases[x.tp] > 0 {
			before, seen := last[x.tp]
			home, known := homes[x.value]
			switch {
			case known && home.n < now[x.tp]:
				found = append(found, Anomaly{OldRecord, x.tp, r.name + " got " + x.value + " of a topic that was deleted after a record of one that was made later"})
				continue
			case known:
				now[x.tp] = home.n
			case seen && x.offset <= before:
				now[x.tp]++
			}
			last[x.tp] = x.offset
		}
		in := incarnation{x.tp, now[x.tp]}
		if parts[in] == nil {
			parts[in] = &Reader{h: h, name: r.name}
		}
		parts[in].polls = append(parts[in].polls, x)
	}
	return parts, found
}
