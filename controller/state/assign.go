package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// BrokerRack is a broker that replicas may be placed on.
type BrokerRack struct {
	// ID is the broker's id.
	ID cluster.BrokerID
	// Rack is its rack, "" for none.
	Rack string
}

// RackMode says what to do with racks when placing replicas (F§9.4).
type RackMode uint8

// The rack modes.
const (
	// RackEnforced spreads over racks if any broker has one, and fails if another has none. It is the zero value.
	RackEnforced RackMode = iota
	// RackDisabled ignores racks.
	RackDisabled
	// RackSafe spreads over racks if all brokers have one, and ignores racks otherwise.
	RackSafe
)

// Placement asks for replicas of partitions.
type Placement struct {
	// Brokers holds the candidates in any order; they are sorted by id.
	Brokers []BrokerRack
	// Partitions is how many partitions to place, at least 1.
	Partitions int
	// ReplicationFactor is how many replicas each gets, from 1 to the number of brokers.
	ReplicationFactor int
	// Start is the position of the broker that gets the first replica of partition 0: random in [0, number of brokers) for a new
	// topic.
	Start int
	// Shift is how far the second replica lies from the first, less one: random in [0, number of brokers) for a new topic.
	Shift int
	// FirstPartition is the number of the first partition to place: 0 for a new topic, else the number of existing ones.
	FirstPartition int
	// Racks says what to do with racks.
	Racks RackMode
}

// Place assigns replicas to partitions so that leaders and followers spread evenly over brokers, and replicas of one partition
// over racks (F§9.4, AdminUtils). The first replica of each is the preferred leader. The result has one element for each
// partition from FirstPartition on. Errors are [*kerr.Error] with Kafka's texts.
func Place(p Placement) ([][]cluster.BrokerID, error) {
	n := len(p.Brokers)
	switch {
	case p.Partitions <= 0:
		return nil, kerr.InvalidPartitions.With("Number of partitions must be larger than 0.")
	case p.ReplicationFactor <= 0:
		return nil, kerr.InvalidReplicationFactor.With("Replication factor must be larger than 0.")
	case p.ReplicationFactor > n:
		return nil, kerr.InvalidReplicationFactor.With(fmt.Sprintf("Replication factor: %d larger than available brokers: %d.", p.ReplicationFactor, n))
	}
	brokers := slices.Clone(p.Brokers)
	slices.SortFunc(brokers, func(a, b BrokerRack) int { return int(a.ID) - int(b.ID) })
	without := 0
	for _, b := range brokers {
		if b.Rack == "" {
			without++
		}
	}
	switch {
	case p.Racks == RackDisabled || without == n || without > 0 && p.Racks == RackSafe:
		return placeFlat(brokers, p), nil
	case without > 0:
		return nil, kerr.UnknownServerError.With("Not all brokers have rack information for replica rack aware assignment.")
	}
	return placeOnRacks(brokers, p), nil
}

// placeFlat places without regard to racks.
func placeFlat(brokers []BrokerRack, p Placement) [][]cluster.BrokerID {
	n, shift := len(brokers), p.Shift
	out := make([][]cluster.BrokerID, 0, p.Partitions)
	for partition := p.FirstPartition; partition < p.FirstPartition+p.Partitions; partition++ {
		if partition > 0 && partition%n == 0 {
			shift++
		}
		first := (partition + p.Start) % n
		replicas := []cluster.BrokerID{brokers[first].ID}
		for j := range p.ReplicationFactor - 1 {
			replicas = append(replicas, brokers[(first+1+(shift+j)%(n-1))%n].ID)
		}
		out = append(out, replicas)
	}
	return out
}

// placeOnRacks places on a list of brokers that alternates between racks, and skips brokers whose rack has a replica of the
// partition as long as another rack has none.
func placeOnRacks(sorted []BrokerRack, p Placement) [][]cluster.BrokerID {
	brokers, racks := alternateRacks(sorted)
	n, shift := len(brokers), p.Shift
	out := make([][]cluster.BrokerID, 0, p.Partitions)
	for partition := p.FirstPartition; partition < p.FirstPartition+p.Partitions; partition++ {
		if partition > 0 && partition%n == 0 {
			shift++
		}
		first := (partition + p.Start) % n
		replicas := []cluster.BrokerID{brokers[first].ID}
		usedRacks := map[string]bool{brokers[first].Rack: true}
		for k := 0; len(replicas) < p.ReplicationFactor; k++ {
			b := brokers[(first+1+(shift*racks+k)%(n-1))%n]
			if usedRacks[b.Rack] && len(usedRacks) < racks || slices.Contains(replicas, b.ID) {
				continue
			}
			replicas = append(replicas, b.ID)
			usedRacks[b.Rack] = true
		}
		out = append(out, replicas)
	}
	return out
}

// alternateRacks returns the brokers so that neighbours are on different racks: the first of each rack, the second of each, and
// so on, racks by name. It also returns the number of racks.
func alternateRacks(sorted []BrokerRack) ([]BrokerRack, int) {
	byRack := make(map[string][]BrokerRack)
	var names []string
	for _, b := range sorted {
		if byRack[b.Rack] == nil {
			names = append(names, b.Rack)
		}
		byRack[b.Rack] = append(byRack[b.Rack], b)
	}
	slices.Sort(names)
	out := make([]BrokerRack, 0, len(sorted))
	for round := 0; len(out) < len(sorted); round++ {
		for _, name := range names {
			if round < len(byRack[name]) {
				out = append(out, byRack[name][round])
			}
		}
	}
	return out, len(names)
}

// PlaceAdded places the partitions that are added to a topic which has count of them, the first on the brokers of firstReplicas:
// the new ones continue the pattern of the old (F§2.7, Add partitions).
func PlaceAdded(brokers []BrokerRack, firstReplicas []cluster.BrokerID, count, add int, racks RackMode) ([][]cluster.BrokerID, error) {
	sorted := slices.Clone(brokers)
	slices.SortFunc(sorted, func(a, b BrokerRack) int { return int(a.ID) - int(b.ID) })
	start := 0
	if len(firstReplicas) > 0 {
		start = max(0, slices.IndexFunc(sorted, func(b BrokerRack) bool { return b.ID >= firstReplicas[0] }))
	}
	return Place(Placement{
		Brokers: brokers, Partitions: add, ReplicationFactor: len(firstReplicas), Start: start, Shift: start, FirstPartition: count, Racks: racks,
	})
}

// CheckManual checks an assignment made by hand, partition number to brokers: partitions from 0 without gaps, none without
// replicas, the same number of replicas for each, no broker twice in one, no negative ids. Errors are [*kerr.Error] with the
// code INVALID_REPLICA_ASSIGNMENT. Whether the brokers exist is not checked, as in Kafka.
func CheckManual(assignment map[int32][]cluster.BrokerID) error {
	refuse := func(format string, args ...any) error {
		return kerr.InvalidReplicaAssignment.With(fmt.Sprintf(format, args...))
	}
	for partition := range int32(len(assignment)) {
		if _, ok := assignment[partition]; !ok {
			return refuse("partitions should be a consecutive 0-based integer sequence")
		}
	}
	for partition := range int32(len(assignment)) {
		replicas := assignment[partition]
		if len(replicas) != len(assignment[0]) {
			return refuse("All partitions should have the same number of replicas")
		}
		if len(replicas) == 0 {
			return refuse("Partition %d has no replicas", partition)
		}
		for i, id := range replicas {
			if id < 0 {
				return refuse("Partition %d names the negative broker id %d", partition, id)
			}
			if slices.Contains(replicas[:i], id) {
				return refuse("Duplicate replica assignment found: %s", formatManual(assignment))
			}
		}
	}
	return nil
}

// formatManual returns an assignment as 0:[1,2] 1:[2,1].
func formatManual(assignment map[int32][]cluster.BrokerID) string {
	var s []string
	for partition := range int32(len(assignment)) {
		s = append(s, fmt.Sprintf("%d:[%s]", partition, joinIDs(assignment[partition])))
	}
	return strings.Join(s, " ")
}
