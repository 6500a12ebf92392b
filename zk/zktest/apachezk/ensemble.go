package apachezk

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// EnsembleTickTime is the tick of the servers of an [Ensemble]; a server that is silent for ten ticks is given up by the others.
const EnsembleTickTime = 200 * time.Millisecond

// Ensemble is several servers, of which one leads.
type Ensemble struct {
	// Servers are all of them, running or not.
	Servers []*Server
}

// StartEnsemble starts an ensemble on free ports of the loopback interface. It is stopped when the test ends. Without Java or ZooKeeper the test is
// skipped, or fails if RequireEnv is set.
func StartEnsemble(tb testing.TB, n int) *Ensemble {
	tb.Helper()
	require(tb)
	ports := freePorts(tb, 3*n)
	shared := []string{"initLimit=50", "syncLimit=10"}
	for i := range n {
		shared = append(shared, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", i+1, ports[n+i], ports[2*n+i]))
	}
	e := new(Ensemble)
	for i := range n {
		s := newServer(tb, "127.0.0.1", ports[i], EnsembleTickTime, shared...)
		if err := s.write("myid", fmt.Sprintln(i+1)); err != nil {
			tb.Fatal(err)
		}
		e.Servers = append(e.Servers, s)
	}
	if err := e.Run(); err != nil {
		tb.Fatal(err)
	}
	return e
}

// Connect returns the addresses of all servers for zookeeper.connect.
func (e *Ensemble) Connect() string {
	var addrs []string
	for _, s := range e.Servers {
		addrs = append(addrs, s.Addr())
	}
	return strings.Join(addrs, ",")
}

// Run starts all servers that do not run, and waits until they serve.
func (e *Ensemble) Run() error {
	failed := make([]error, len(e.Servers))
	var wg sync.WaitGroup
	for i, s := range e.Servers {
		wg.Go(func() { failed[i] = s.Run() })
	}
	wg.Wait()
	return errors.Join(failed...)
}

// Led reports whether a server says that it leads. Once one does, it does not wait for the others' answers.
func (e *Ensemble) Led() bool {
	modes := make(chan string, len(e.Servers))
	for _, s := range e.Servers {
		go func() { modes <- s.Mode() }()
	}
	for range e.Servers {
		if <-modes == "leader" {
			return true
		}
	}
	return false
}

// Roles returns the server that leads and those that follow it, as they say themselves; the leader is nil while there is none.
func (e *Ensemble) Roles() (leader *Server, followers []*Server) {
	modes := make([]string, len(e.Servers))
	var wg sync.WaitGroup
	for i, s := range e.Servers {
		wg.Go(func() { modes[i] = s.Mode() }) // a frozen one takes its time
	}
	wg.Wait()
	for i, s := range e.Servers {
		switch modes[i] {
		case "leader":
			leader = s
		case "follower":
			followers = append(followers, s)
		}
	}
	return leader, followers
}

// Whole reports whether one server leads and all others follow.
func (e *Ensemble) Whole() bool {
	leader, followers := e.Roles()
	return leader != nil && len(followers) == len(e.Servers)-1
}
