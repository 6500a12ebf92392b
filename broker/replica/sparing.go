package replica

import "github.com/hashicorp/go-hclog"

// maxAlike is how many lines of one kind are logged for one order or one answer: they may be about thousands of partitions.
const maxAlike = 20

// sparing counts lines of one kind. The zero value has counted none.
type sparing struct{ lines int }

// next reports whether another line may be logged.
func (s *sparing) next() bool {
	s.lines++
	return s.lines <= maxAlike
}

// end says how many were not logged.
func (s *sparing) end(log hclog.Logger, text string) {
	if more := s.lines - maxAlike; more > 0 {
		log.Info("more of the same was not logged", "text", text, "count", more)
	}
	s.lines = 0
}
