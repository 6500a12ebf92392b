package txn

import (
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk/znode"
)

// ids is what a broker has left of the blocks of producer ids that it has claimed: the block in use and, once that one runs low, a spare one.
// The zero value has none. An id is handed out once.
type ids struct {
	left  span // of the block in use
	size  int64
	spare span
}

// span is the ids from next up to, without, end.
type span struct{ next, end cluster.ProducerID }

func (s span) len() int64 { return int64(s.end - s.next) }

// take hands out the next id; ok is false when there is none.
func (s *ids) take() (id cluster.ProducerID, ok bool) {
	if s.left.len() == 0 {
		s.left, s.spare = s.spare, span{}
		s.size = s.left.len()
	}
	if s.left.len() == 0 {
		return cluster.NoProducerID, false
	}
	id = s.left.next
	s.left.next++
	return id, true
}

// hungry reports whether another block is wanted: there is no spare one, and nine tenths of the one in use are gone (F§1.8).
func (s *ids) hungry() bool { return s.spare.len() == 0 && s.left.len() <= s.size/10 }

// add takes a block over that was claimed because the ids were hungry.
func (s *ids) add(b znode.ProducerIDBlock) { s.spare = span{b.Start, b.End + 1} }
