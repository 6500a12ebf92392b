package broker

import (
	"context"
	"strconv"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/broker/server"
	"github.com/ottla/ottla/proto/cluster"
)

// openContacts starts to watch the other brokers, so that the controller can act on what it sees before ZooKeeper does.
func (b *Broker) openContacts(context.Context) error {
	s := b.cfg.Settings
	if !s.Bool("ottla.early.failover.enable") {
		return nil
	}
	b.contacts = contact.New(contact.Config{
		Self:     b.id,
		Metadata: b.metadata,
		Open:     func(id cluster.BrokerID) contact.Line { return b.peers.Line(id) },
		Interval: s.Milliseconds("ottla.early.failover.ping.interval.ms"),
		Patience: s.Milliseconds("ottla.early.failover.timeout.ms"),
		HoldDown: s.Milliseconds("ottla.early.failover.hold.down.ms"),
		Waiting:  b.logs.LongestWait,
		Stall:    s.Milliseconds("ottla.early.failover.disk.stall.ms"),
		Changed:  b.controller.Contact,
		Logger:   b.log.Named("contact"),
	})
	b.onClose(func(context.Context) error { b.contacts.Close(); return nil })
	return nil
}

// stalls reports whether another broker says that its disk stalls.
func (b *Broker) stalls(id cluster.BrokerID) bool { return b.contacts != nil && b.contacts.Stalled(id) }

// heard is who hears what other brokers say in their pings; nil if nobody does.
func (b *Broker) heard() server.Contacts {
	if b.contacts == nil {
		return nil
	}
	return b.contacts
}

// minISRs returns min.insync.replicas of all topics that do not override it, and of those that do, as last read.
func (s *settings) minISRs() (all int, overrides map[string]int) {
	const name = "min.insync.replicas"
	overrides = make(map[string]int)
	for _, topic := range s.overriding(name) {
		if n, err := strconv.Atoi(s.overrides(topic)[name]); err == nil {
			overrides[topic] = n
		}
	}
	return s.current().Int(name), overrides
}

// learnTopics reads the overrides of topics that may have no replica here, so that minISRs knows them: of all topics if topics is nil. What cannot be read
// is left as it was known.
func (s *settings) learnTopics(ctx context.Context, topics []string) {
	var err error
	if topics == nil {
		err = s.readTopics(ctx, s.store())
	}
	for _, topic := range topics {
		if _, one := s.readTopic(ctx, s.store(), topic); one != nil {
			err = one
		}
	}
	if err != nil {
		s.log.Warn("the controller goes on with the settings of topics that are known here", "error", err)
	}
}
