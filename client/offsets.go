package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Isolation says how far a consumer may read.
type Isolation int32

// The isolation levels of the protocol.
const (
	// ReadUncommitted reads up to the high watermark.
	ReadUncommitted Isolation = 0
	// ReadCommitted reads up to the last stable offset and leaves out records of aborted transactions.
	ReadCommitted Isolation = 1
)

// String returns the level as isolation.level spells it.
func (i Isolation) String() string {
	if i == ReadCommitted {
		return "read_committed"
	}
	return "read_uncommitted"
}

// Timestamps with a special meaning for [Client.ListOffsets] (F§3.8).
const (
	// Latest asks for the end: the high watermark, or the last stable offset with [ReadCommitted].
	Latest int64 = -1
	// Earliest asks for the first offset.
	Earliest int64 = -2
	// MaxTimestamp asks for the record with the largest timestamp (KIP-734).
	MaxTimestamp int64 = -3
	// EarliestLocal asks for the first offset on the broker's own disk (KIP-405).
	EarliestLocal int64 = -4
)

// OffsetResult is the answer for one partition.
type OffsetResult struct {
	// Offset is [cluster.UnknownOffset] when there is no such record.
	Offset cluster.Offset
	// Timestamp of the record in milliseconds; -1 when it was not looked up by time or none was found.
	Timestamp int64
	// LeaderEpoch of the record; -1 when unknown.
	LeaderEpoch cluster.LeaderEpoch
	// Err is set when this partition failed; the other fields are then -1.
	Err error
}

// ListOffsets looks up an offset per partition, by timestamp in milliseconds (the first record at or after it) or by one of [Latest],
// [Earliest], [MaxTimestamp], [EarliestLocal]. It asks each partition's leader, and asks again after retriable errors until ctx ends or the API
// timeout has passed. Every partition asked for is in the result; the error is for the call as a whole.
func (c *Client) ListOffsets(ctx context.Context, isolation Isolation, at map[cluster.TopicPartition]int64) (map[cluster.TopicPartition]OffsetResult, error) {
	limit, cancel := context.WithTimeout(ctx, c.cfg.apiTimeout)
	defer cancel()
	done := make(map[cluster.TopicPartition]OffsetResult, len(at))
	todo := make(map[cluster.TopicPartition]int64, len(at))
	for tp, ts := range at {
		todo[tp] = ts
	}
	last := map[cluster.TopicPartition]error{}
	for attempt := 1; len(todo) > 0; attempt++ {
		if attempt > 1 {
			c.RequestRefresh()
			if err := Sleep(limit, c.cfg.backoff.Wait(attempt-1)); err != nil {
				break
			}
		}
		c.listOnce(limit, isolation, todo, func(tp cluster.TopicPartition, r OffsetResult) {
			if r.Err == nil || !Retriable(r.Err) && limit.Err() == nil {
				done[tp] = r
				delete(todo, tp)
				return
			}
			if limit.Err() == nil || last[tp] == nil {
				last[tp] = r.Err
			}
		})
		if limit.Err() != nil {
			break
		}
	}
	if len(todo) == len(at) && ctx.Err() != nil {
		return nil, &Error{Op: "list offsets", Broker: cluster.NoBroker, Err: errors.Join(context.Cause(ctx), firstOf(last))}
	}
	for tp := range todo {
		done[tp] = OffsetResult{Offset: cluster.UnknownOffset, Timestamp: -1, LeaderEpoch: -1,
			Err: &Error{Op: "list offsets", Broker: cluster.NoBroker, TopicPartition: tp, Err: fmt.Errorf("gave up after retries: %w", orTimeout(last[tp]))}}
	}
	return done, nil
}

// TryListOffsets is [Client.ListOffsets] without retries: every leader is asked once, and the results of the others do not wait for a
// partition that has none. Metadata that errors prove to be out of date is for the caller to refresh.
func (c *Client) TryListOffsets(ctx context.Context, isolation Isolation, at map[cluster.TopicPartition]int64) map[cluster.TopicPartition]OffsetResult {
	found := make(map[cluster.TopicPartition]OffsetResult, len(at))
	c.listOnce(ctx, isolation, at, func(tp cluster.TopicPartition, r OffsetResult) { found[tp] = r })
	return found
}

func firstOf(errs map[cluster.TopicPartition]error) error {
	for _, err := range errs {
		return err
	}
	return nil
}

func orTimeout(err error) error {
	if err == nil {
		return kerr.RequestTimedOut
	}
	return err
}

// listOnce asks each leader once, all at the same time, and reports a result for every partition; report is not called concurrently.
func (c *Client) listOnce(ctx context.Context, isolation Isolation, at map[cluster.TopicPartition]int64, report func(cluster.TopicPartition, OffsetResult)) {
	byLeader := map[cluster.BrokerID]map[cluster.TopicPartition]Partition{}
	failed := map[cluster.TopicPartition]error{}
	for tp := range at {
		p, err := c.leaderOf(ctx, tp)
		if err != nil {
			failed[tp] = err
			continue
		}
		if byLeader[p.Leader] == nil {
			byLeader[p.Leader] = map[cluster.TopicPartition]Partition{}
		}
		byLeader[p.Leader][tp] = p
	}
	var mu sync.Mutex
	locked := func(tp cluster.TopicPartition, r OffsetResult) {
		mu.Lock()
		defer mu.Unlock()
		report(tp, r)
	}
	for tp, err := range failed {
		locked(tp, OffsetResult{Offset: cluster.UnknownOffset, Timestamp: -1, LeaderEpoch: -1, Err: err})
	}
	times := map[cluster.BrokerID]map[cluster.TopicPartition]int64{}
	for id, parts := range byLeader { // before anything is reported: at may change then
		times[id] = make(map[cluster.TopicPartition]int64, len(parts))
		for tp := range parts {
			times[id][tp] = at[tp]
		}
	}
	var wg sync.WaitGroup
	for id, parts := range byLeader {
		wg.Go(func() { c.listOn(ctx, id, isolation, parts, times[id], locked) })
	}
	wg.Wait()
}

// leaderOf returns the partition's description if it has a leader. It waits for the topic's metadata once.
func (c *Client) leaderOf(ctx context.Context, tp cluster.TopicPartition) (Partition, error) {
	t, ok := c.CachedTopic(tp.Topic)
	if !ok {
		c.Track(tp.Topic, false)
		if err := c.Refresh(ctx); err != nil {
			return Partition{}, err
		}
		if t, ok = c.CachedTopic(tp.Topic); !ok {
			return Partition{}, kerr.UnknownTopicOrPartition
		}
	}
	switch {
	case t.Err != kerr.None:
		return Partition{}, t.Err
	case tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions):
		return Partition{}, kerr.UnknownTopicOrPartition.With(fmt.Sprintf("topic %s has %d partitions", tp.Topic, len(t.Partitions)))
	case t.Partitions[tp.Partition].Leader < 0:
		return Partition{}, kerr.LeaderNotAvailable
	}
	return t.Partitions[tp.Partition], nil
}

// listOn asks one leader for all its partitions.
func (c *Client) listOn(ctx context.Context, id cluster.BrokerID, isolation Isolation, parts map[cluster.TopicPartition]Partition, at map[cluster.TopicPartition]int64, report func(cluster.TopicPartition, OffsetResult)) {
	none := OffsetResult{Offset: cluster.UnknownOffset, Timestamp: -1, LeaderEpoch: -1}
	topics := map[string]*ottlapb.ListOffsetsTopic{}
	req := &ottlapb.ListOffsetsRequest{ReplicaId: -1, IsolationLevel: int32(isolation)}
	for tp, p := range parts {
		t := topics[tp.Topic]
		if t == nil {
			t = &ottlapb.ListOffsetsTopic{Name: tp.Topic}
			topics[tp.Topic] = t
			req.Topics = append(req.Topics, t)
		}
		t.Partitions = append(t.Partitions, &ottlapb.ListOffsetsPartition{Index: tp.Partition, CurrentLeaderEpoch: int32(p.LeaderEpoch), Timestamp: at[tp]})
	}
	var resp *ottlapb.ListOffsetsResponse
	_, err := c.attempt(ctx, OnBroker(id), func(ctx context.Context, api *API) (err error) {
		resp, err = api.Fetch.ListOffsets(ctx, req)
		return err
	})
	if err != nil {
		for tp := range parts {
			r := none
			r.Err = &Error{Op: "list offsets", Broker: id, TopicPartition: tp, Err: err}
			report(tp, r)
		}
		return
	}
	for _, t := range resp.GetTopics() {
		for _, p := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()}
			if _, asked := parts[tp]; !asked {
				continue
			}
			delete(parts, tp)
			r := OffsetResult{Offset: cluster.Offset(p.GetOffset()), Timestamp: p.GetTimestamp(), LeaderEpoch: cluster.LeaderEpoch(p.GetLeaderEpoch())}
			if code := kerr.Code(p.GetErrorCode()); code != kerr.None {
				r = none
				r.Err = &Error{Op: "list offsets", Broker: id, TopicPartition: tp, Err: code.Err()}
			}
			report(tp, r)
		}
	}
	for tp := range parts {
		r := none
		r.Err = &Error{Op: "list offsets", Broker: id, TopicPartition: tp, Err: kerr.UnknownServerError.With("the broker's answer leaves the partition out")}
		report(tp, r)
	}
}
