package replica

import (
	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/proto/cluster"
)

// search looks a timestamp up in the log, below bound. The result is nothingListed if there is no such record.
func (p *Partition) search(timestamp int64, bound cluster.Offset) (ListedOffset, error) {
	var at commitlog.TimestampOffset
	var found bool
	var err error
	if timestamp == MaxTimestamp {
		at, found, err = p.log.OffsetOfMaxTimestamp()
	} else {
		at, found, err = p.log.OffsetForTimestamp(timestamp, bound)
	}
	if err != nil || !found || at.Offset >= bound {
		return nothingListed, err
	}
	return ListedOffset{at.Offset, at.Timestamp, at.LeaderEpoch}, nil
}
