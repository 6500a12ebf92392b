package server

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// explosive panics when anybody asks it for a partition called bomb.
type explosive struct{ Replicas }

func (e explosive) Partition(tp cluster.TopicPartition) (*replica.Partition, kerr.Code) {
	if tp.Topic == "bomb" {
		panic("tick, tick")
	}
	return e.Replicas.Partition(tp)
}

func TestAPanicEndsTheCallAndNothingElse(t *testing.T) {
	logged := &lines{}
	w := newWorld(t, func(d *Deps) {
		d.Replicas = explosive{d.Replicas}
		d.Logger = hclog.New(&hclog.LoggerOptions{Output: logged})
	})
	w.topic("orders", 1)
	w.topic("bomb", 1)
	bomb := at("bomb", 0)
	cc := w.dial("")
	for name, call := range map[string]func() error{
		"unary": func() error {
			_, err := w.listOffsets(-1, 0, bomb, &ottlapb.ListOffsetsPartition{Timestamp: -1})
			return err
		},
		"produce": func() error {
			p := w.producer(cc)
			p.send(request(1, bomb, batch(t, "x")))
			_, err := p.s.Recv()
			return err
		},
		"fetch": func() error {
			f := w.fetcher(cc)
			f.send(want(0, 0, bomb))
			_, err := f.s.Recv()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantStatus(t, call(), codes.Internal) })
	}
	if text := logged.String(); strings.Count(text, "tick, tick") != 3 || !strings.Contains(text, "harness_test.go") && !strings.Contains(text, "server_test.go") {
		t.Errorf("the log lacks the panics or their stacks:\n%s", text)
	}
	w.producer(cc).put(orders0, "still alive")
}

func TestHealthAndReflection(t *testing.T) {
	w := newWorld(t)
	cc := w.dial("")
	health := func() grpc_health_v1.HealthCheckResponse_ServingStatus {
		res, err := grpc_health_v1.NewHealthClient(cc).Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res.Status
	}
	if got := health(); got != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v", got)
	}
	w.srv.SetServing(false)
	if got := health(); got != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health: %v", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := grpc_reflection_v1.NewServerReflectionClient(cc).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	res, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range res.GetListServicesResponse().GetService() {
		names = append(names, service.Name)
	}
	for _, name := range []string{"ottla.v1.ProduceService", "ottla.v1.FetchService", "ottla.v1.MetadataService", "ottla.v1.TopicService", "ottla.v1.ControlService", "ottla.v1.RecordService", "grpc.health.v1.Health"} {
		if !slices.Contains(names, name) {
			t.Errorf("reflection does not list %s: %v", name, names)
		}
	}
}

func TestMethodsThatDoNotExist(t *testing.T) {
	w := newWorld(t)
	cc := w.dial("")
	for _, method := range []string{"/ottla.v1.ProduceService/Steal", "/ottla.v1.Nothing/Metadata", "//ottla.v1.MetadataService/Metadata", "/ottla.v1.MetadataService/%4detadata"} {
		err := cc.Invoke(context.Background(), method, &ottlapb.MetadataRequest{}, &ottlapb.MetadataResponse{})
		wantStatus(t, err, codes.Unimplemented)
	}
}

func TestARequestThatIsTooLarge(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	cc := w.dial("")
	p := w.producer(cc)
	_ = p.s.Send(request(1, orders0, make([]byte, 101<<20)))
	_, err := p.s.Recv()
	wantStatus(t, err, codes.ResourceExhausted)
	w.producer(cc).put(orders0, "the connection is still good")
}

func TestAnExhaustedDeadlineAsksForNothing(t *testing.T) {
	w := newWorld(t)
	cc := w.dial("")
	ctx, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	_, err := ottlapb.NewMetadataServiceClient(cc).Metadata(ctx, &ottlapb.MetadataRequest{})
	wantStatus(t, err, codes.DeadlineExceeded)
}
