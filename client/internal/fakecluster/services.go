package fakecluster

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// services is one broker's side of the protocol.
type services struct {
	ottlapb.UnimplementedMetadataServiceServer
	ottlapb.UnimplementedProduceServiceServer
	ottlapb.UnimplementedFetchServiceServer
	ottlapb.UnimplementedTopicServiceServer
	ottlapb.UnimplementedTransactionServiceServer
	cluster *Cluster
	id      cluster.BrokerID
}

func (s *services) Metadata(_ context.Context, req *ottlapb.MetadataRequest) (*ottlapb.MetadataResponse, error) {
	c := s.cluster
	c.count("metadata")
	c.mu.Lock()
	r := &ottlapb.MetadataResponse{ClusterId: "fake-cluster", ControllerId: int32(c.control), Brokers: c.brokersLocked()}
	names := req.GetTopics()
	if req.GetAllTopics() {
		names = sortedNames(c.topics)
	}
	for _, n := range names {
		if c.topics[n] == nil && req.GetAllowAutoTopicCreation() && c.AutoCreate > 0 {
			c.createLocked(n, c.AutoCreate)
			r.Topics = append(r.Topics, &ottlapb.TopicMetadata{Name: n, ErrorCode: int32(kerr.LeaderNotAvailable)})
			continue
		}
		r.Topics = append(r.Topics, c.describeLocked(n))
	}
	c.mu.Unlock()
	if c.OnMetadata != nil {
		if err := c.OnMetadata(s.id, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (c *Cluster) brokersLocked() []*ottlapb.Node {
	var out []*ottlapb.Node
	for id := range c.nodes {
		out = append(out, &ottlapb.Node{Id: int32(id), Host: Host(id), Port: 9092, Rack: "r1"})
	}
	return out
}

func (c *Cluster) describeLocked(name string) *ottlapb.TopicMetadata {
	out := &ottlapb.TopicMetadata{Name: name}
	if err := cluster.ValidateTopicName(name); err != nil {
		out.ErrorCode = int32(kerr.InvalidTopicException)
		return out
	}
	t := c.topics[name]
	if t == nil {
		out.ErrorCode = int32(kerr.UnknownTopicOrPartition)
		return out
	}
	out.TopicId = t.id[:]
	for i, p := range t.parts {
		m := &ottlapb.PartitionMetadata{Index: int32(i), LeaderId: int32(p.leader), LeaderEpoch: int32(p.epoch), Replicas: []int32{int32(p.leader)}, Isr: []int32{int32(p.leader)}}
		if p.leader < 0 || c.nodes[p.leader] == nil {
			m.LeaderId, m.ErrorCode = -1, int32(kerr.LeaderNotAvailable)
		}
		out.Partitions = append(out.Partitions, m)
	}
	return out
}

func (s *services) DescribeCluster(context.Context, *ottlapb.DescribeClusterRequest) (*ottlapb.DescribeClusterResponse, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return &ottlapb.DescribeClusterResponse{ClusterId: "fake-cluster", ControllerId: int32(c.control), Brokers: c.brokersLocked()}, nil
}

// ask runs a script about one partition.
func (c *Cluster) ask(ctx context.Context, script func(Call) *Act, kind string, call Call) Act {
	call.N = c.count(kind + " " + call.TopicPartition.String())
	if script == nil {
		return Act{}
	}
	a := script(call)
	if a == nil {
		return Act{}
	}
	if a.Delay > 0 {
		t := time.NewTimer(a.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return *a
}

func (s *services) Produce(stream grpc.BidiStreamingServer[ottlapb.ProduceRequest, ottlapb.ProduceResponse]) error {
	for {
		var req wire.ProduceRequest
		if err := stream.RecvMsg(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.cluster.count("produce")
		resp, err := s.produce(stream.Context(), &req)
		acks := req.Acks
		req.Release()
		switch {
		case err != nil:
			return err
		case resp == nil:
			<-stream.Context().Done()
			return stream.Context().Err()
		case acks == 0:
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					if p.ErrorCode != 0 {
						return status.Error(codes.FailedPrecondition, kerr.Code(p.ErrorCode).Name())
					}
				}
			}
		default:
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
	}
}

// produce appends; a nil answer without an error means silence.
func (s *services) produce(ctx context.Context, req *wire.ProduceRequest) (*ottlapb.ProduceResponse, error) {
	c := s.cluster
	resp := &ottlapb.ProduceResponse{}
	twice := repeats(req)
	var silent bool
	var end error
	for _, t := range req.Topics {
		out := &ottlapb.TopicProduceResult{Name: t.Name}
		for _, p := range t.Partitions {
			tp := cluster.TopicPartition{Topic: t.Name, Partition: p.Index}
			a := c.ask(ctx, c.OnProduce, "produce", Call{Broker: s.id, TopicPartition: tp, Batch: record.Batch(p.Records)})
			silent = silent || a.Silent
			if a.End != nil {
				end = a.End
			}
			if twice {
				a.Code = kerr.InvalidRequest
			}
			out.Partitions = append(out.Partitions, s.appendOne(tp, p.Index, record.Batch(p.Records), a))
		}
		resp.Topics = append(resp.Topics, out)
	}
	if end != nil {
		return nil, end
	}
	if silent {
		return nil, nil
	}
	return resp, nil
}

// repeats reports whether a partition comes twice, which a broker refuses as a whole.
func repeats(req *wire.ProduceRequest) bool {
	seen := map[cluster.TopicPartition]bool{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			tp := cluster.TopicPartition{Topic: t.Name, Partition: p.Index}
			if seen[tp] {
				return true
			}
			seen[tp] = true
		}
	}
	return false
}

func (s *services) appendOne(tp cluster.TopicPartition, index int32, b record.Batch, a Act) *ottlapb.PartitionProduceResult {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.partLocked(tp); c.Discard && p != nil {
		p.end += cluster.Offset(b.Count())
		return &ottlapb.PartitionProduceResult{Index: index, BaseOffset: int64(p.end) - int64(b.Count()), LogAppendTimeMs: -1}
	}
	res := &ottlapb.PartitionProduceResult{Index: index, BaseOffset: -1, LogAppendTimeMs: -1, LogStartOffset: -1, CurrentLeader: a.Leader, ErrorMessage: a.Message}
	part, code := c.roleLocked(s.id, tp)
	switch {
	case code != kerr.None:
	case a.Code == kerr.None && len(b) > c.maxSize:
		code = kerr.MessageTooLarge
	case a.Code == kerr.None && !b.CheckCRC():
		code = kerr.CorruptMessage
	default:
		code = a.Code
	}
	res.ErrorCode = int32(code)
	if code == kerr.None && !a.Silent && a.End == nil || a.Append && part != nil {
		at, refused := part.produceLocked(b)
		switch {
		case refused != kerr.None:
			res.ErrorCode = int32(refused)
		case code == kerr.None:
			res.BaseOffset, res.LogStartOffset = int64(at), int64(part.start)
		}
	}
	return res
}

func (s *services) ListOffsets(ctx context.Context, req *ottlapb.ListOffsetsRequest) (*ottlapb.ListOffsetsResponse, error) {
	c := s.cluster
	c.count("list-offsets")
	resp := &ottlapb.ListOffsetsResponse{}
	for _, t := range req.GetTopics() {
		out := &ottlapb.ListOffsetsTopicResult{Name: t.GetName()}
		for _, p := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()}
			a := c.ask(ctx, c.OnListOffsets, "list-offsets", Call{Broker: s.id, TopicPartition: tp})
			if a.End != nil {
				return nil, a.End
			}
			r := &ottlapb.ListOffsetsPartitionResult{Index: p.GetIndex(), ErrorCode: int32(a.Code), Offset: -1, Timestamp: -1, LeaderEpoch: -1}
			c.mu.Lock()
			part, code := c.roleLocked(s.id, tp)
			if code != kerr.None {
				r.ErrorCode = int32(code)
			} else if a.Code == kerr.None {
				r.Offset, r.Timestamp = part.findLocked(p.GetTimestamp())
				r.LeaderEpoch = int32(part.epoch)
			}
			c.mu.Unlock()
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (p *partition) findLocked(timestamp int64) (offset, found int64) {
	switch timestamp {
	case -1:
		return int64(p.end), -1
	case -2, -4:
		return int64(p.start), -1
	}
	best, bestTime := int64(-1), int64(-1)
	for _, b := range p.batches {
		for r, err := range b.Records(nil) {
			if err != nil {
				break
			}
			if timestamp >= 0 && r.Timestamp >= timestamp {
				return r.Offset, r.Timestamp
			}
			if timestamp == -3 && r.Timestamp > bestTime {
				best, bestTime = r.Offset, r.Timestamp
			}
		}
	}
	return best, bestTime
}

func (s *services) CreateTopics(_ context.Context, req *ottlapb.CreateTopicsRequest) (*ottlapb.CreateTopicsResponse, error) {
	c := s.cluster
	c.count("create-topics")
	resp := &ottlapb.CreateTopicsResponse{}
	for _, t := range req.GetTopics() {
		r := &ottlapb.CreatableTopicResult{Name: t.GetName(), NumPartitions: -1, ReplicationFactor: -1}
		code := c.adminCode(s.id, t.GetName())
		c.mu.Lock()
		switch {
		case code != kerr.None:
		case c.topics[t.GetName()] != nil:
			code = kerr.TopicAlreadyExists
			r.ErrorMessage = "Topic '" + t.GetName() + "' already exists."
		default:
			r.NumPartitions, r.ReplicationFactor = max(1, t.GetNumPartitions(), int32(len(t.GetAssignments()))), max(1, t.GetReplicationFactor())
			if !req.GetValidateOnly() {
				id := c.createLocked(t.GetName(), r.NumPartitions).id
				r.TopicId = id[:]
			}
		}
		r.ErrorCode = int32(code)
		c.mu.Unlock()
		resp.Topics = append(resp.Topics, r)
	}
	return resp, nil
}

func (c *Cluster) adminCode(id cluster.BrokerID, topic string) kerr.Code {
	if c.OnAdmin != nil {
		if code := c.OnAdmin(id, topic); code != kerr.None {
			return code
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.control != id {
		return kerr.NotController
	}
	return kerr.None
}

func (s *services) DeleteTopics(_ context.Context, req *ottlapb.DeleteTopicsRequest) (*ottlapb.DeleteTopicsResponse, error) {
	c := s.cluster
	c.count("delete-topics")
	resp := &ottlapb.DeleteTopicsResponse{}
	for _, name := range req.GetTopicNames() {
		code := c.adminCode(s.id, name)
		c.mu.Lock()
		if code == kerr.None && c.topics[name] == nil {
			code = kerr.UnknownTopicOrPartition
		}
		if code == kerr.None {
			delete(c.topics, name)
		}
		c.mu.Unlock()
		resp.Topics = append(resp.Topics, &ottlapb.DeletableTopicResult{Name: name, ErrorCode: int32(code)})
	}
	return resp, nil
}

func (s *services) DescribeTopics(_ context.Context, req *ottlapb.DescribeTopicsRequest) (*ottlapb.DescribeTopicsResponse, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	names := req.GetTopicNames()
	if req.GetAllTopics() {
		names = sortedNames(c.topics)
	}
	resp := &ottlapb.DescribeTopicsResponse{}
	for _, n := range names {
		resp.Topics = append(resp.Topics, c.describeLocked(n))
	}
	return resp, nil
}

func (s *services) DescribeConfigs(_ context.Context, req *ottlapb.DescribeConfigsRequest) (*ottlapb.DescribeConfigsResponse, error) {
	resp := &ottlapb.DescribeConfigsResponse{}
	for _, r := range req.GetResources() {
		d := &ottlapb.ConfigDescription{Type: r.GetType(), Name: r.GetName()}
		v := &ottlapb.ConfigValue{Name: "retention.ms", Value: "604800000", Source: ottlapb.ConfigSource_CONFIG_SOURCE_DEFAULT_CONFIG}
		if r.GetType() == ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER {
			v = &ottlapb.ConfigValue{Name: "broker.id", Value: Host(s.id), Source: ottlapb.ConfigSource_CONFIG_SOURCE_STATIC_BROKER_CONFIG, ReadOnly: true}
		}
		if req.GetIncludeSynonyms() {
			v.Synonyms = []*ottlapb.ConfigSynonym{{Name: v.GetName(), Value: v.GetValue(), Source: v.GetSource()}}
		}
		d.Entries = append(d.Entries, v)
		resp.Results = append(resp.Results, d)
	}
	return resp, nil
}
