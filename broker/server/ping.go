package server

import (
	"context"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Contacts hears what other brokers say in their pings. *contact.Watch is what a broker uses.
type Contacts interface {
	// Heard is told which brokers do not answer to another one.
	Heard(from cluster.BrokerID, lost []contact.Lost)
}

// Ping answers at once: it is a sign of life and nothing else.
func (s *Server) Ping(_ context.Context, req *ottlapb.PingRequest) (*ottlapb.PingResponse, error) {
	if n := len(req.GetSilent()); n > s.limits.Entries {
		return nil, tooMany("brokers", n, s.limits.Entries)
	}
	if s.deps.Contacts != nil {
		lost := make([]contact.Lost, len(req.GetSilent()))
		for i, b := range req.GetSilent() {
			lost[i] = contact.Lost{Broker: cluster.BrokerID(b.GetBrokerId()), Loss: contact.Silent}
			if b.GetRefused() {
				lost[i].Loss = contact.Refused
			}
		}
		s.deps.Contacts.Heard(cluster.BrokerID(req.GetBrokerId()), lost)
	}
	return &ottlapb.PingResponse{BrokerId: int32(s.deps.BrokerID)}, nil
}
