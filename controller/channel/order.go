package channel

import (
	"context"
	"sync"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// maxPartitions bounds the partitions of one call. Larger orders are split: brokers refuse calls that are too large.
const maxPartitions = 50_000

// order is a body on its way to one or more brokers. It is turned into protocol messages once, by the first sender that needs them.
type order struct {
	body     state.Body
	listener string

	once sync.Once
	made []call
}

// calls returns the calls that make up the order.
func (o *order) calls() []call {
	o.once.Do(func() {
		switch body := o.body.(type) {
		case *state.BecomeRequest:
			for _, ps := range chunks(body.Partitions) {
				o.made = append(o.made, newBecome(&state.BecomeRequest{Partitions: ps, Leaders: body.Leaders}, o.listener))
			}
		case *state.MetadataRequest:
			parts := chunks(body.Partitions)
			if len(parts) == 0 {
				parts = append(parts, nil)
			}
			for _, ps := range parts {
				o.made = append(o.made, newMetadata(&state.MetadataRequest{Partitions: ps, Brokers: body.Brokers}))
			}
		case *state.StopRequest:
			for _, ps := range chunks(body.Partitions) {
				o.made = append(o.made, newStop(&state.StopRequest{Partitions: ps}))
			}
		}
	})
	return o.made
}

// chunks splits a slice into pieces of at most maxPartitions.
func chunks[T any](all []T) [][]T {
	var out [][]T
	for len(all) > maxPartitions {
		out = append(out, all[:maxPartitions])
		all = all[maxPartitions:]
	}
	if len(all) > 0 {
		out = append(out, all)
	}
	return out
}

// header is what differs between receivers.
type header struct {
	controller      cluster.BrokerID
	controllerEpoch cluster.ControllerEpoch
	broker          cluster.BrokerID
	brokerEpoch     cluster.BrokerEpoch
	sequence        int64
}

// call is one call to a broker. It is immutable: several senders make it at the same time.
type call interface {
	name() string
	// do makes the call. It returns the code for the whole request and what the controller has to know of the answer.
	do(context.Context, ottlapb.ControlServiceClient, header) (kerr.Code, state.Event, error)
}

// become is a LeaderAndIsr call.
type become struct {
	topics  []*ottlapb.LeaderAndIsrTopic
	leaders []*ottlapb.Node
}

func newBecome(r *state.BecomeRequest, listener string) *become {
	c := &become{}
	var topic *ottlapb.LeaderAndIsrTopic
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if topic == nil || topic.Name != p.Partition.Topic {
			topic = &ottlapb.LeaderAndIsrTopic{Name: p.Partition.Topic, TopicId: topicID(p.TopicID)}
			c.topics = append(c.topics, topic)
		}
		topic.Partitions = append(topic.Partitions, &ottlapb.LeaderAndIsrPartition{
			Index:               p.Partition.Partition,
			ControllerEpoch:     int32(p.State.ControllerEpoch),
			LeaderId:            int32(p.State.Leader),
			LeaderEpoch:         int32(p.State.LeaderEpoch),
			Isr:                 ids(p.State.ISR),
			PartitionEpoch:      int32(p.State.PartitionEpoch),
			Replicas:            ids(p.Assignment.Replicas),
			AddingReplicas:      ids(p.Assignment.Adding),
			RemovingReplicas:    ids(p.Assignment.Removing),
			IsNew:               p.New,
			LeaderRecoveryState: int32(p.State.Recovery),
		})
	}
	for _, b := range r.Leaders {
		for _, e := range b.Endpoints {
			if e.Listener == listener {
				c.leaders = append(c.leaders, &ottlapb.Node{Id: int32(b.ID), Host: e.Host, Port: e.Port, Rack: b.Rack})
			}
		}
	}
	return c
}

func (*become) name() string { return "LeaderAndIsr" }

func (c *become) do(ctx context.Context, client ottlapb.ControlServiceClient, h header) (kerr.Code, state.Event, error) {
	r, err := client.LeaderAndIsr(ctx, &ottlapb.LeaderAndIsrRequest{
		ControllerId: int32(h.controller), ControllerEpoch: int32(h.controllerEpoch), BrokerEpoch: int64(h.brokerEpoch),
		Sequence: h.sequence, Topics: c.topics, LiveLeaders: c.leaders,
	})
	if err != nil {
		return kerr.None, nil, err
	}
	code := kerr.Code(r.ErrorCode)
	return code, state.BecomeResponse{Broker: h.broker, BrokerEpoch: h.brokerEpoch, Code: code, Partitions: outcomes(r.Partitions)}, nil
}

// metadata is an UpdateMetadata call.
type metadata struct {
	topics  []*ottlapb.UpdateMetadataTopic
	brokers []*ottlapb.UpdateMetadataBroker
}

func newMetadata(r *state.MetadataRequest) *metadata {
	c := &metadata{}
	var topic *ottlapb.UpdateMetadataTopic
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if topic == nil || topic.Name != p.Partition.Topic {
			topic = &ottlapb.UpdateMetadataTopic{Name: p.Partition.Topic, TopicId: topicID(p.TopicID)}
			c.topics = append(c.topics, topic)
		}
		topic.Partitions = append(topic.Partitions, &ottlapb.UpdateMetadataPartition{
			Index:           p.Partition.Partition,
			ControllerEpoch: int32(p.State.ControllerEpoch),
			LeaderId:        int32(p.State.Leader),
			LeaderEpoch:     int32(p.State.LeaderEpoch),
			Isr:             ids(p.State.ISR),
			PartitionEpoch:  int32(p.State.PartitionEpoch),
			Replicas:        ids(p.Replicas),
			OfflineReplicas: ids(p.Offline),
		})
	}
	for _, b := range r.Brokers {
		broker := &ottlapb.UpdateMetadataBroker{Id: int32(b.ID), Rack: b.Rack}
		for _, e := range b.Endpoints {
			broker.Endpoints = append(broker.Endpoints, &ottlapb.BrokerEndpoint{
				Listener: e.Listener, SecurityProtocol: e.SecurityProtocol, Host: e.Host, Port: e.Port,
			})
		}
		c.brokers = append(c.brokers, broker)
	}
	return c
}

func (*metadata) name() string { return "UpdateMetadata" }

func (c *metadata) do(ctx context.Context, client ottlapb.ControlServiceClient, h header) (kerr.Code, state.Event, error) {
	r, err := client.UpdateMetadata(ctx, &ottlapb.UpdateMetadataRequest{
		ControllerId: int32(h.controller), ControllerEpoch: int32(h.controllerEpoch), BrokerEpoch: int64(h.brokerEpoch),
		Sequence: h.sequence, Topics: c.topics, LiveBrokers: c.brokers,
	})
	if err != nil {
		return kerr.None, nil, err
	}
	return kerr.Code(r.ErrorCode), nil, nil
}

// stop is a StopReplica call.
type stop struct {
	request    *state.StopRequest
	partitions []*ottlapb.StopReplicaPartition
}

func newStop(r *state.StopRequest) *stop {
	c := &stop{request: r}
	for _, p := range r.Partitions {
		c.partitions = append(c.partitions, &ottlapb.StopReplicaPartition{
			Topic: p.Partition.Topic, Index: p.Partition.Partition, LeaderEpoch: int32(p.LeaderEpoch), DeletePartition: p.Delete,
		})
	}
	return c
}

func (*stop) name() string { return "StopReplica" }

func (c *stop) do(ctx context.Context, client ottlapb.ControlServiceClient, h header) (kerr.Code, state.Event, error) {
	r, err := client.StopReplica(ctx, &ottlapb.StopReplicaRequest{
		ControllerId: int32(h.controller), ControllerEpoch: int32(h.controllerEpoch), BrokerEpoch: int64(h.brokerEpoch),
		Sequence: h.sequence, Partitions: c.partitions,
	})
	if err != nil {
		return kerr.None, nil, err
	}
	code := kerr.Code(r.ErrorCode)
	return code, state.StopResponse{
		Request: c.request, Broker: h.broker, BrokerEpoch: h.brokerEpoch, Code: code, Partitions: outcomes(r.Partitions),
	}, nil
}

// outcomes turns the answers for partitions into the controller's nouns.
func outcomes(ps []*ottlapb.PartitionError) []state.PartitionError {
	out := make([]state.PartitionError, len(ps))
	for i, p := range ps {
		out[i] = state.PartitionError{Partition: cluster.TopicPartition{Topic: p.Topic, Partition: p.Index}, Code: kerr.Code(p.ErrorCode)}
	}
	return out
}

// ids turns broker ids into numbers.
func ids(of []cluster.BrokerID) []int32 {
	if len(of) == 0 {
		return nil
	}
	out := make([]int32, len(of))
	for i, id := range of {
		out[i] = int32(id)
	}
	return out
}

// topicID returns the bytes of an id, none when it is unknown.
func topicID(id cluster.TopicID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}
