package state

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func flat(n int) []BrokerRack {
	var out []BrokerRack
	for id := n - 1; id >= 0; id-- {
		out = append(out, BrokerRack{ID: cluster.BrokerID(id)})
	}
	return out
}

func racks(names ...string) []BrokerRack {
	var out []BrokerRack
	for id, name := range names {
		out = append(out, BrokerRack{ID: cluster.BrokerID(id), Rack: name})
	}
	return out
}

// lines shows a placement as the fact sheet writes it.
func lines(first int, placed [][]cluster.BrokerID) []string {
	var out []string
	for i, replicas := range placed {
		out = append(out, fmt.Sprintf("p%d %s", first+i, joinIDs(replicas)))
	}
	return out
}

func TestPlacementFollowsTheWorkedExamples(t *testing.T) {
	tests := []struct {
		name string
		p    Placement
		want []string
	}{
		{"five brokers, three replicas", Placement{Brokers: flat(5), Partitions: 10, ReplicationFactor: 3},
			[]string{"p0 0,1,2", "p1 1,2,3", "p2 2,3,4", "p3 3,4,0", "p4 4,0,1", "p5 0,2,3", "p6 1,3,4", "p7 2,4,0", "p8 3,0,1", "p9 4,1,2"}},
		{"six brokers on three racks", Placement{Brokers: racks("r1", "r3", "r3", "r2", "r2", "r1"), Partitions: 7, ReplicationFactor: 3},
			[]string{"p0 0,3,1", "p1 3,1,5", "p2 1,5,4", "p3 5,4,2", "p4 4,2,0", "p5 2,0,3", "p6 0,4,2"}},
		{"one broker", Placement{Brokers: flat(1), Partitions: 3, ReplicationFactor: 1, Start: 0, Shift: 0}, []string{"p0 0", "p1 0", "p2 0"}},
		{"racks ignored", Placement{Brokers: racks("a", "a", "b"), Partitions: 2, ReplicationFactor: 2, Racks: RackDisabled}, []string{"p0 0,1", "p1 1,2"}},
		{"incomplete racks ignored", Placement{Brokers: racks("a", "", "b"), Partitions: 2, ReplicationFactor: 2, Racks: RackSafe}, []string{"p0 0,1", "p1 1,2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Place(tt.p)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, lines(tt.p.FirstPartition, got)); d != "" {
				t.Fatal(d)
			}
		})
	}
	// The broker of the first replica is gone, and none has a higher id: the pattern begins with the first broker.
	added, err := PlaceAdded(flat(3), []cluster.BrokerID{9, 2}, 3, 2, RackEnforced)
	if d := cmp.Diff([]string{"p3 0,2", "p4 1,0"}, lines(3, added)); d != "" || err != nil {
		t.Fatal(d, err)
	}
	added, err = PlaceAdded(flat(3), []cluster.BrokerID{1, 2}, 3, 2, RackEnforced)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"p3 1,2", "p4 2,0"}, lines(3, added)); d != "" {
		t.Fatal(d)
	}
}

func TestPlacementRefusals(t *testing.T) {
	tests := []struct {
		name string
		p    Placement
		code kerr.Code
		text string
	}{
		{"no partitions", Placement{Brokers: flat(1), ReplicationFactor: 1}, kerr.InvalidPartitions, "Number of partitions must be larger than 0."},
		{"no replicas", Placement{Brokers: flat(1), Partitions: 1}, kerr.InvalidReplicationFactor, "Replication factor must be larger than 0."},
		{"too many replicas", Placement{Brokers: flat(1), Partitions: 1, ReplicationFactor: 3}, kerr.InvalidReplicationFactor,
			"Replication factor: 3 larger than available brokers: 1."},
		{"incomplete racks", Placement{Brokers: racks("a", ""), Partitions: 1, ReplicationFactor: 1}, kerr.UnknownServerError,
			"Not all brokers have rack information for replica rack aware assignment."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Place(tt.p)
			var ke *kerr.Error
			if !errors.As(err, &ke) || ke.Code != tt.code || ke.Text() != tt.text {
				t.Fatalf("got %v, want %s: %s", err, tt.code.Name(), tt.text)
			}
		})
	}
}

func TestPlacementIsEvenAndRackAware(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "brokers")
		rackCount := rapid.IntRange(0, 4).Draw(t, "racks")
		var brokers []BrokerRack
		inRack := map[string]int{}
		for id := range n {
			b := BrokerRack{ID: cluster.BrokerID(id * 3)}
			if rackCount > 0 {
				b.Rack = fmt.Sprint("r", rapid.IntRange(1, rackCount).Draw(t, "rack"))
				inRack[b.Rack]++
			}
			brokers = append(brokers, b)
		}
		p := Placement{
			Brokers: brokers, Partitions: rapid.IntRange(1, 30).Draw(t, "partitions"), ReplicationFactor: rapid.IntRange(1, n).Draw(t, "rf"),
			Start: rapid.IntRange(0, n-1).Draw(t, "start"), Shift: rapid.IntRange(0, n-1).Draw(t, "shift"), FirstPartition: rapid.IntRange(0, 20).Draw(t, "first"),
		}
		placed, err := Place(p)
		if err != nil || len(placed) != p.Partitions {
			t.Fatalf("%d partitions, %v", len(placed), err)
		}
		leads := map[cluster.BrokerID]int{}
		rackOf := map[cluster.BrokerID]string{}
		for _, b := range brokers {
			leads[b.ID], rackOf[b.ID] = 0, b.Rack
		}
		for _, replicas := range placed {
			leads[replicas[0]]++
			brokersSeen, racksSeen := map[cluster.BrokerID]bool{}, map[string]bool{}
			for _, id := range replicas {
				brokersSeen[id], racksSeen[rackOf[id]] = true, true
			}
			if len(brokersSeen) != p.ReplicationFactor {
				t.Fatalf("a broker twice in %v", replicas)
			}
			if rackCount > 0 && len(racksSeen) != min(p.ReplicationFactor, len(inRack)) {
				t.Fatalf("%v is on %d racks of %v", replicas, len(racksSeen), brokers)
			}
		}
		for id, count := range leads {
			if count < p.Partitions/n || count > (p.Partitions+n-1)/n {
				t.Fatalf("broker %d leads %d of %d partitions among %d brokers", id, count, p.Partitions, n)
			}
		}
	})
}

func TestManualAssignments(t *testing.T) {
	type assignment = map[int32][]cluster.BrokerID
	tests := []struct {
		name string
		a    assignment
		want string
	}{
		{"good", assignment{0: {1, 2}, 1: {2, 1}}, ""},
		{"gap", assignment{0: {1}, 2: {1}}, "partitions should be a consecutive 0-based integer sequence"},
		{"not from 0", assignment{1: {1}}, "partitions should be a consecutive 0-based integer sequence"},
		{"negative partition", assignment{0: {1}, -1: {1}}, "partitions should be a consecutive 0-based integer sequence"},
		{"different factors", assignment{0: {1, 2}, 1: {2}}, "All partitions should have the same number of replicas"},
		{"duplicate", assignment{0: {1, 1}}, "Duplicate replica assignment found: 0:[1,1]"},
		{"negative broker", assignment{0: {-1}}, "Partition 0 names the negative broker id -1"},
		{"no replicas", assignment{0: {}}, "Partition 0 has no replicas"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckManual(tt.a)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var ke *kerr.Error
			if !errors.As(err, &ke) || ke.Code != kerr.InvalidReplicaAssignment || ke.Text() != tt.want {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
		})
	}
}
