package state

import (
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// RepairSources returns whom to ask, in this order, for records that this broker has a damaged copy of: the leader, the others in sync, then the rest of the
// replicas, as far as they live. A replica that is not in sync may have them as well; whether they are the right ones shows.
func RepairSources(self, leader cluster.BrokerID, isr, replicas []cluster.BrokerID, alive func(cluster.BrokerID) bool) []cluster.BrokerID {
	var ids []cluster.BrokerID
	for _, id := range slices.Concat([]cluster.BrokerID{leader}, isr, replicas) {
		if id >= 0 && id != self && alive(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// The pauses between attempts to repair.
const (
	firstRepairPause = 100 * time.Millisecond
	lastRepairPause  = 30 * time.Second
)

// RepairPause returns how long to wait after n attempts to repair in a row that have failed.
func RepairPause(n int) time.Duration {
	d := firstRepairPause
	for i := 1; i < n && d < lastRepairPause; i++ {
		d *= 2
	}
	return min(d, lastRepairPause)
}
