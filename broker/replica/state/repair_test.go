package state

import (
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

func TestWhomToAskForWhatIsDamaged(t *testing.T) {
	alive := func(id cluster.BrokerID) bool { return id != 5 }
	for _, tc := range []struct {
		leader        cluster.BrokerID
		isr, replicas []cluster.BrokerID
		want          []cluster.BrokerID
	}{
		{2, ids(1, 3, 2), ids(1, 2, 3, 4), ids(2, 3, 4)},
		{1, ids(1, 3), ids(1, 2, 3), ids(3, 2)},
		{5, ids(1, 5), ids(1, 5, 4), ids(4)},
		{cluster.NoBroker, ids(1), ids(1, 5), nil},
		{1, ids(1), ids(1), nil},
	} {
		if got := RepairSources(1, tc.leader, tc.isr, tc.replicas, alive); !slices.Equal(got, tc.want) {
			t.Errorf("leader %d, in sync %v, replicas %v: %v, want %v", tc.leader, tc.isr, tc.replicas, got, tc.want)
		}
	}
}

func TestRepairPauses(t *testing.T) {
	if a, b, c := RepairPause(1), RepairPause(2), RepairPause(100); a != 100*time.Millisecond || b != 2*a || c != 30*time.Second {
		t.Errorf("%v, %v, %v", a, b, c)
	}
}
