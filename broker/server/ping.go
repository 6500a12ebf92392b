package server

import (
	"context"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Contacts hears what other brokers say in their pings. *contact.Watch is what a broker uses.
type Contacts interface {
	// Heard is told which brokers do not answer to another one, and whether its disk stalls.
	Heard(from cluster.BrokerID, r contact.Report)
}

// Ping answers at once: it is a sign of life and nothing else.
func (s *Server) Ping(_ context.Context, req *ottlapb.PingRequest) (*ottlapb.PingResponse, error) {
	if n := len(req.GetSilent()); n > s.limits.Entries {
		return nil, tooMany("brokers", n, s.limits.Entries)
	}
	if s.deps.Contacts != nil {
		r := contact.Report{Lost: make([]contact.Lost, len(req.GetSilent())), Stalled: req.GetDiskStalled()}
		for i, b := range req.GetSilent() {
			r.Lost[i] = contact.Lost{Broker: cluster.BrokerID(b.GetBrokerId()), Loss: contact.Silent}
			if b.GetRefused() {
				r.Lost[i].Loss = contact.Refused
			}
		}
		s.deps.Contacts.Heard(cluster.BrokerID(req.GetBrokerId()), r)
	}
	return &ottlapb.PingResponse{BrokerId: int32(s.deps.BrokerID)}, nil
}
