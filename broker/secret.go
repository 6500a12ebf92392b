package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"

	"github.com/ottla/ottla/zk/store"
)

// secret is what the brokers of a cluster prove with, to each other, that they belong to it: whoever can read the cluster's ZooKeeper. The first
// broker makes it up; it changes when an operator deletes or rewrites its node. It is safe for concurrent use.
type secret struct{ current atomic.Pointer[string] }

// token returns what calls to other brokers carry; "" before the first read.
func (s *secret) token() string {
	if t := s.current.Load(); t != nil {
		return *t
	}
	return ""
}

// read reads the secret, and stores one if there is none. With a watcher it sets the watch on it. What was read before stays when there is an
// error.
func (s *secret) read(ctx context.Context, st *store.Store, r store.Reader) error {
	token, err := st.EnsureBrokerSecret(ctx, r, rand.Text())
	if err != nil {
		return err
	}
	s.current.Store(&token)
	return nil
}

// openSecret reads the secret for the first time. Without one the broker could neither trust others nor be trusted.
func (b *Broker) openSecret(ctx context.Context, st *store.Store) error {
	if err := b.secret.read(ctx, st, nil); err != nil {
		return fmt.Errorf("read the secret of the cluster's brokers in ZooKeeper: %w; if its node is damaged, delete it: a new one is made", err)
	}
	return nil
}
