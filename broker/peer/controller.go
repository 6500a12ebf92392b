package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// AlterPartition asks the active controller to change in-sync replicas and returns its answers in the order of the changes. It tries
// once. The error carries a [kerr.Code] if a broker answered: NOT_CONTROLLER, STALE_BROKER_EPOCH, REQUEST_TIMED_OUT.
func (p *Peers) AlterPartition(ctx context.Context, epoch cluster.BrokerEpoch, changes []state.ISRChange) ([]state.ISRResult, error) {
	client, id, err := p.controllerClient()
	if err != nil {
		return nil, fmt.Errorf("change in-sync replicas: %w", err)
	}
	ctx, cancel := p.whileController(ctx, id)
	defer cancel()
	res, err := client.AlterPartition(ctx, encodeChanges(p.cfg.BrokerID, epoch, changes))
	if err != nil {
		return nil, fmt.Errorf("change in-sync replicas: %w", err)
	}
	if code := kerr.Code(res.GetErrorCode()); code != kerr.None {
		return nil, fmt.Errorf("change in-sync replicas: %w", code.Err())
	}
	if len(res.GetPartitions()) != len(changes) {
		return nil, fmt.Errorf("change in-sync replicas: %d answers to %d changes", len(res.GetPartitions()), len(changes))
	}
	results := make([]state.ISRResult, len(changes))
	for i, r := range res.GetPartitions() {
		if tp := changes[i].TopicPartition; r.GetTopic() != tp.Topic || r.GetIndex() != tp.Partition {
			return nil, fmt.Errorf("change in-sync replicas: an answer for %s-%d where one for %s belongs", r.GetTopic(), r.GetIndex(), tp)
		}
		results[i] = state.ISRResult{
			Code: kerr.Code(r.GetErrorCode()), LeaderEpoch: cluster.LeaderEpoch(r.GetLeaderEpoch()),
			PartitionEpoch: cluster.PartitionEpoch(r.GetPartitionEpoch()),
		}
		for _, id := range r.GetIsr() {
			results[i].ISR = append(results[i].ISR, cluster.BrokerID(id))
		}
	}
	return results, nil
}

func encodeChanges(self cluster.BrokerID, epoch cluster.BrokerEpoch, changes []state.ISRChange) *ottlapb.AlterPartitionRequest {
	req := &ottlapb.AlterPartitionRequest{BrokerId: int32(self), BrokerEpoch: int64(epoch)}
	var topic *ottlapb.AlterPartitionTopic
	for _, c := range changes {
		if topic == nil || topic.Name != c.TopicPartition.Topic {
			topic = &ottlapb.AlterPartitionTopic{Name: c.TopicPartition.Topic}
			req.Topics = append(req.Topics, topic)
		}
		wish := &ottlapb.AlterPartitionWish{
			Index: c.TopicPartition.Partition, LeaderEpoch: int32(c.LeaderEpoch), PartitionEpoch: int32(c.PartitionEpoch), Fence: c.Fence,
		}
		for i, id := range c.ISR {
			wish.NewIsr = append(wish.NewIsr, &ottlapb.InSyncReplica{BrokerId: int32(id), BrokerEpoch: int64(c.Epochs[i])})
		}
		topic.Partitions = append(topic.Partitions, wish)
	}
	return req
}

// ControlledShutdown tells the active controller that this broker, registered under epoch, is about to stop (F§2.11). It returns the partitions
// that the broker still leads although others hold them too. It tries once. The error carries a [kerr.Code] if a broker answered.
func (p *Peers) ControlledShutdown(ctx context.Context, epoch cluster.BrokerEpoch) ([]cluster.TopicPartition, error) {
	client, id, err := p.controllerClient()
	if err != nil {
		return nil, fmt.Errorf("announce the shutdown: %w", err)
	}
	ctx, cancel := p.whileController(ctx, id)
	defer cancel()
	res, err := client.ControlledShutdown(ctx, &ottlapb.ControlledShutdownRequest{BrokerId: int32(p.cfg.BrokerID), BrokerEpoch: int64(epoch)})
	if err != nil {
		return nil, fmt.Errorf("announce the shutdown: %w", err)
	}
	if code := kerr.Code(res.GetErrorCode()); code != kerr.None {
		return nil, fmt.Errorf("announce the shutdown: %w", code.Err())
	}
	var left []cluster.TopicPartition
	for _, r := range res.GetRemaining() {
		left = append(left, cluster.TopicPartition{Topic: r.GetTopic(), Partition: r.GetIndex()})
	}
	return left, nil
}

// whileController bounds a call of a controller: by the timeout, and by the news that another broker is the controller. One that is frozen would
// otherwise keep everybody waiting who had asked it just before.
func (p *Peers) whileController(ctx context.Context, id cluster.BrokerID) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ControllerTimeout)
	go func() {
		for {
			changed := p.cfg.Metadata.Changed()
			if p.cfg.Metadata.Image().ControllerID() != id {
				cancel()
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

// controllerClient returns a client of whoever is the controller as far as this broker knows, and who that is.
func (p *Peers) controllerClient() (ottlapb.ControllerServiceClient, cluster.BrokerID, error) {
	id := p.cfg.Metadata.Image().ControllerID()
	if id == cluster.NoBroker {
		return nil, id, errors.New("no controller is known")
	}
	addr, err := p.address(id)
	if err != nil {
		return nil, id, fmt.Errorf("reach the controller: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.controller != nil && p.controller.addr != addr {
		p.controller.close()
		p.controller = nil
	}
	if p.controller == nil {
		if p.controller, err = p.connect(addr); err != nil {
			return nil, id, err
		}
	}
	return ottlapb.NewControllerServiceClient(p.controller.conn), id, nil
}
