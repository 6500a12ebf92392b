package e2e

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// evil is a kind of fault.
type evil string

// The faults of a process, of ZooKeeper and of the network.
const (
	kill            evil = "kill -9"
	stop            evil = "stop"
	pause           evil = "pause"
	blink           evil = "blink"
	starve          evil = "no file descriptors left"
	killAll         evil = "kill -9 all brokers"
	zookeeperKill   evil = "kill -9 ZooKeeper"
	zookeeperPause  evil = "pause ZooKeeper"
	cutPeer         evil = "cut from a broker"
	cutOneWay       evil = "cut one way to a broker"
	cutPeers        evil = "cut from both brokers"
	cutZooKeeper    evil = "cut from ZooKeeper"
	cutIsland       evil = "cut from all but clients"
	cutAcknowledged evil = "cut one way to clients"
)

// networkEvil needs a lab, starve the command prlimit.
var (
	evils       = []evil{kill, kill, killAll, stop, pause, pause, blink, zookeeperKill, zookeeperPause}
	networkEvil = []evil{cutPeer, cutOneWay, cutPeers, cutZooKeeper, cutIsland, cutAcknowledged}
)

// role is who is to suffer, found out when the time has come.
type role string

// The roles.
const (
	leader     role = "the leader"
	follower   role = "a follower"
	controller role = "the controller"
	anyone     role = "broker"
)

// fault is one evil to one broker, or to ZooKeeper.
type fault struct {
	evil      evil
	role      role
	partition int           // of leader and follower
	number    int           // which broker, which follower, which peer
	hold      time.Duration // how long it lasts
}

// ofZooKeeper reports whether ZooKeeper is who suffers.
func (f fault) ofZooKeeper() bool { return f.evil == zookeeperKill || f.evil == zookeeperPause }

func (f fault) String() string {
	who := fmt.Sprintf(" of partition %d", f.partition)
	switch {
	case f.ofZooKeeper(), f.evil == killAll:
		return fmt.Sprintf("%s for %v", f.evil, f.hold)
	case f.role == anyone:
		who = fmt.Sprintf(" %d", f.number+1)
	case f.role == controller:
		who = ""
	}
	return fmt.Sprintf("%s: %s%s for %v", f.evil, f.role, who, f.hold)
}

// attack is one or two faults that overlap, after a time of rest.
type attack struct {
	rest   time.Duration
	faults []fault
	apart  time.Duration // between the beginnings of two
}

func (a attack) String() string {
	var s []string
	for _, f := range a.faults {
		s = append(s, f.String())
	}
	return strings.Join(s, fmt.Sprintf("; after %v ", a.apart))
}

// planner invents attacks, the same ones from the same seed.
type planner struct {
	rng     *rand.Rand
	session time.Duration // the brokers' ZooKeeper session timeout
	evils   []evil
	bag     []evil
}

// newPlanner returns a planner that takes these kinds besides evils.
func newPlanner(seed uint64, session time.Duration, more ...evil) *planner {
	return &planner{rng: rand.New(rand.NewPCG(seed, 0)), session: session, evils: slices.Concat(evils, more)}
}

// between returns a time between two multiples of the session timeout, in whole milliseconds.
func (p *planner) between(least, most float64) time.Duration {
	return time.Duration((least + (most-least)*p.rng.Float64()) * float64(p.session)).Round(time.Millisecond)
}

// draw takes a kind of evil from a bag that holds each kind, so that a short run has seen many.
func (p *planner) draw() evil {
	if len(p.bag) == 0 {
		p.bag = append(p.bag, p.evils...)
		p.rng.Shuffle(len(p.bag), func(i, j int) { p.bag[i], p.bag[j] = p.bag[j], p.bag[i] })
	}
	e := p.bag[0]
	p.bag = p.bag[1:]
	return e
}

func (p *planner) fault() fault {
	f := fault{evil: p.draw(), role: []role{leader, leader, follower, controller, anyone}[p.rng.IntN(5)], partition: p.rng.IntN(torturePartitions), number: p.rng.IntN(3)}
	switch f.evil {
	case pause:
		f.hold = p.between(1.2, 2.2)
	case blink:
		f.hold = p.between(0.2, 0.9)
	case zookeeperPause:
		f.hold = p.between(0.3, 1.5)
	case kill, killAll, stop, zookeeperKill:
		f.hold = p.between(0, 1.7)
	default:
		f.hold = p.between(0.5, 2.2)
	}
	return f
}

// next invents an attack; three in ten are pairs.
func (p *planner) next() attack {
	a := attack{rest: p.between(0.1, 0.7), faults: []fault{p.fault()}}
	if p.rng.IntN(10) < 3 {
		a.apart = p.between(0, 0.8)
		second := p.fault()
		for second.ofZooKeeper() && a.faults[0].ofZooKeeper() {
			second = p.fault()
		}
		a.faults = append(a.faults, second)
	}
	return a
}

func TestTheSameSeedPlansTheSameAttacks(t *testing.T) {
	plan := func(seed uint64, more ...evil) (out []attack) {
		p := newPlanner(seed, 3*time.Second, more...)
		for range 40 {
			out = append(out, p.next())
		}
		return out
	}
	if !reflect.DeepEqual(plan(1), plan(1)) || reflect.DeepEqual(plan(1), plan(2)) {
		t.Error("plans do not follow from their seeds")
	}
	for _, more := range [][]evil{nil, networkEvil, {starve}} {
		seen := map[evil]bool{}
		pairs := 0
		for _, a := range plan(3, more...) {
			for _, f := range a.faults {
				seen[f.evil] = true
			}
			if len(a.faults) == 2 {
				pairs++
				if a.faults[0].ofZooKeeper() && a.faults[1].ofZooKeeper() {
					t.Errorf("ZooKeeper twice: %v", a)
				}
			}
		}
		if len(seen) != 7+len(more) || pairs == 0 {
			t.Errorf("with %v as well: kinds %v, %d pairs", more, seen, pairs)
		}
	}
}
