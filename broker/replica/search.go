package replica

import "github.com/ottla/ottla/proto/cluster"

// search looks a timestamp up in the log, below bound. The result is nothingListed if there is no such record.
func (p *Partition) search(timestamp int64, bound cluster.Offset) (ListedOffset, error) {
	lookUp := func() (cluster.Offset, int64, cluster.LeaderEpoch, bool, error) {
		return p.log.OffsetForTimestamp(timestamp, bound)
	}
	if timestamp == MaxTimestamp {
		lookUp = p.log.MaxTimestamp
	}
	offset, at, epoch, found, err := lookUp()
	if err != nil || !found || offset >= bound {
		return nothingListed, err
	}
	return ListedOffset{offset, at, epoch}, nil
}
