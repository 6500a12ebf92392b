package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// topicView is what is known about a topic.
type topicView struct {
	name       string
	id         cluster.TopicID // zero when unknown
	partitions []partitionView // by number
	overrides  []override      // settings that are not the built-in default, by name
	minISR     int
	deleting   bool // only ZooKeeper tells
}

// override is a setting.
type override struct{ name, value string }

// partitionView is what is known about a partition.
type partitionView struct {
	index            int32
	leader           cluster.BrokerID // cluster.NoBroker for none
	leaderAlive      bool
	replicas, isr    []cluster.BrokerID
	adding, removing []cluster.BrokerID
}

// factor is the replication factor: the replicas of the first partition, without those that are being added.
func (t *topicView) factor() int {
	if len(t.partitions) == 0 {
		return 0
	}
	return len(t.partitions[0].replicas) - len(t.partitions[0].adding)
}

// print describes topics (F§7.1), also when an error comes with what can be described.
func (f *topicFlags) print(ctx context.Context, store topicStore, names []topicName, std streams) error {
	wanted := make([]string, len(names))
	for i, n := range names {
		wanted[i] = n.name
	}
	views, err := store.describe(ctx, wanted)
	slices.SortFunc(views, func(a, b topicView) int { return strings.Compare(a.name, b.name) })
	w := bufio.NewWriter(std.out)
	defer w.Flush()
	filtered := f.filters.partitions()
	for i := range views {
		t := &views[i]
		if !filtered && (!f.filters.withOverrides.Given() || len(t.overrides) > 0) {
			t.printHeader(w)
		}
		if f.filters.withOverrides.Given() {
			continue
		}
		for _, p := range t.partitions {
			if !filtered || f.filters.match(t, p) {
				t.printPartition(w, p)
			}
		}
	}
	return err
}

// partitions reports whether only some partitions are wanted.
func (v *topicFilters) partitions() bool {
	return v.underReplicated.Given() || v.unavailable.Given() || v.underMinISR.Given() || v.atMinISR.Given()
}

// match reports whether a partition is wanted.
func (v *topicFilters) match(t *topicView, p partitionView) bool {
	headless := p.leader == cluster.NoBroker
	switch {
	case v.underReplicated.Given():
		return len(p.replicas)-len(p.adding) > len(p.isr)
	case v.unavailable.Given():
		return headless || !p.leaderAlive
	case v.underMinISR.Given():
		return headless || len(p.isr) < t.minISR
	case v.atMinISR.Given():
		return len(p.isr) == t.minISR
	}
	return true
}

// printHeader writes a topic's line.
func (t *topicView) printHeader(w *bufio.Writer) {
	fmt.Fprintf(w, "Topic: %s", t.name)
	if !t.id.IsZero() {
		fmt.Fprintf(w, "\tTopicId: %s", t.id)
	}
	items := make([]string, len(t.overrides))
	for i, o := range t.overrides {
		items[i] = o.name + "=" + o.value
	}
	fmt.Fprintf(w, "\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: %s", len(t.partitions), t.factor(), strings.Join(items, ","))
	if t.deleting {
		fmt.Fprint(w, "\tMarkedForDeletion: true")
	}
	fmt.Fprintln(w)
}

// printPartition writes a partition's line.
func (t *topicView) printPartition(w *bufio.Writer, p partitionView) {
	leader := "none"
	if p.leader != cluster.NoBroker {
		leader = strconv.Itoa(int(p.leader))
	}
	fmt.Fprintf(w, "\tTopic: %s\tPartition: %d\tLeader: %s\tReplicas: %s\tIsr: %s", t.name, p.index, leader, brokerList(p.replicas), brokerList(p.isr))
	if len(p.adding) > 0 || len(p.removing) > 0 {
		fmt.Fprintf(w, "\tAdding Replicas: %s\tRemoving Replicas: %s", brokerList(p.adding), brokerList(p.removing))
	}
	if t.deleting {
		fmt.Fprint(w, "\tMarkedForDeletion: true")
	}
	fmt.Fprintln(w)
}

// brokerList joins broker ids with commas.
func brokerList(ids []cluster.BrokerID) string {
	items := make([]string, len(ids))
	for i, id := range ids {
		items[i] = strconv.Itoa(int(id))
	}
	return strings.Join(items, ",")
}
