package admin

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// BeforeHighWatermark makes [Admin.DeleteRecords] delete all records that consumers can read.
const BeforeHighWatermark cluster.Offset = -1

// DeletedRecords is the outcome of a deletion for one partition.
type DeletedRecords struct {
	// LowWatermark is where the earliest of the live replicas begins; unknown with an error.
	LowWatermark cluster.Offset
	// Err is nil on success.
	Err error
}

// DeleteRecords deletes the records before an offset of each partition (KIP-107). It asks the leaders, and asks again after retriable errors. timeout is
// how long they wait for their followers; 0 means [DefaultTimeout]. Every partition asked for is in the result.
func (a *Admin) DeleteRecords(ctx context.Context, before map[cluster.TopicPartition]cluster.Offset, timeout time.Duration) (map[cluster.TopicPartition]DeletedRecords, error) {
	results := make(map[cluster.TopicPartition]DeletedRecords, len(before))
	left := make(map[cluster.TopicPartition]cluster.Offset, len(before))
	for tp, offset := range before {
		left[tp] = offset
	}
	if len(left) == 0 {
		return results, nil
	}
	// Each attempt asks any broker who leads, and then the leaders. Deleting again what was deleted changes nothing.
	attempt := 0
	err := a.cl.Do(ctx, client.AnyBroker, "delete records", func(ctx context.Context, api *client.API) error {
		byLeader, err := leaders(ctx, api, left)
		if err != nil {
			return err
		}
		attempt++
		var again error
		for tp, r := range a.deleteAtOnce(ctx, byLeader, left, timeout) {
			results[tp] = r
			switch {
			case r.Err == nil, !client.Retriable(r.Err), errors.Is(r.Err, kerr.RequestTimedOut),
				errors.Is(r.Err, kerr.UnknownTopicOrPartition) && attempt >= unknownAttempts:
				delete(left, tp)
			default:
				again = r.Err
			}
		}
		return again
	})
	if err != nil && len(left) == len(before) && len(results) == 0 {
		return nil, err
	}
	return results, nil
}

// unknownAttempts is how often a partition is looked for that no broker knows: a new one may not have come round to all of them.
const unknownAttempts = 3

// deleteAtOnce asks all leaders at the same time.
func (a *Admin) deleteAtOnce(ctx context.Context, byLeader map[cluster.BrokerID][]cluster.TopicPartition, before map[cluster.TopicPartition]cluster.Offset, timeout time.Duration) map[cluster.TopicPartition]DeletedRecords {
	answers := make(chan map[cluster.TopicPartition]DeletedRecords, len(byLeader))
	for leader, tps := range byLeader {
		go func() { answers <- a.deleteOn(ctx, leader, tps, before, timeout) }()
	}
	results := make(map[cluster.TopicPartition]DeletedRecords, len(before))
	for range byLeader {
		maps.Copy(results, <-answers)
	}
	return results
}

// leaders sorts partitions by who leads them: NoBroker where nobody is known to.
func leaders(ctx context.Context, api *client.API, of map[cluster.TopicPartition]cluster.Offset) (map[cluster.BrokerID][]cluster.TopicPartition, error) {
	var names []string
	byTopic := map[string]client.Topic{}
	for tp := range of {
		if _, ok := byTopic[tp.Topic]; !ok {
			byTopic[tp.Topic] = client.Topic{}
			names = append(names, tp.Topic)
		}
	}
	r, err := api.Topics.DescribeTopics(ctx, &ottlapb.DescribeTopicsRequest{TopicNames: names})
	if err != nil {
		return nil, err
	}
	leading := map[cluster.TopicPartition]cluster.BrokerID{}
	for _, t := range r.GetTopics() {
		topic := client.TopicOf(t)
		for _, p := range topic.Partitions {
			leading[cluster.TopicPartition{Topic: topic.Name, Partition: p.Index}] = max(p.Leader, cluster.NoBroker)
		}
		byTopic[topic.Name] = topic
	}
	sorted := map[cluster.BrokerID][]cluster.TopicPartition{}
	for tp := range of {
		leader, known := leading[tp]
		if !known {
			leader = nowhere
		}
		sorted[leader] = append(sorted[leader], tp)
	}
	return sorted, nil
}

// nowhere stands for the leader of a partition that does not exist.
const nowhere cluster.BrokerID = -2

// deleteOn asks one leader.
func (a *Admin) deleteOn(ctx context.Context, leader cluster.BrokerID, tps []cluster.TopicPartition, before map[cluster.TopicPartition]cluster.Offset, timeout time.Duration) map[cluster.TopicPartition]DeletedRecords {
	results := make(map[cluster.TopicPartition]DeletedRecords, len(tps))
	all := func(err error) map[cluster.TopicPartition]DeletedRecords {
		for _, tp := range tps {
			results[tp] = DeletedRecords{cluster.UnknownOffset, err}
		}
		return results
	}
	switch leader {
	case nowhere:
		return all(kerr.UnknownTopicOrPartition.Err())
	case cluster.NoBroker:
		return all(kerr.LeaderNotAvailable.Err())
	}
	req := &ottlapb.DeleteRecordsRequest{TimeoutMs: a.timeoutMs(timeout)}
	topics := map[string]*ottlapb.DeleteRecordsTopic{}
	for _, tp := range tps {
		t := topics[tp.Topic]
		if t == nil {
			t = &ottlapb.DeleteRecordsTopic{Name: tp.Topic}
			topics[tp.Topic] = t
			req.Topics = append(req.Topics, t)
		}
		t.Partitions = append(t.Partitions, &ottlapb.DeleteRecordsPartition{Index: tp.Partition, Offset: int64(before[tp])})
	}
	var resp *ottlapb.DeleteRecordsResponse
	err := a.cl.Do(ctx, client.OnBroker(leader), "delete records", func(ctx context.Context, api *client.API) (err error) {
		resp, err = api.Topics.DeleteRecords(ctx, req)
		return err
	})
	if err != nil {
		return all(err)
	}
	all(kerr.UnknownServerError.With("the broker's answer leaves the partition out"))
	for _, t := range resp.GetTopics() {
		for _, p := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()}
			if _, asked := results[tp]; asked {
				results[tp] = DeletedRecords{cluster.Offset(p.GetLowWatermark()), errorOf(p.GetErrorCode(), p.GetErrorMessage())}
			}
		}
	}
	return results
}
