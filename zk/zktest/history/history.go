// Package history records what concurrent clients ask of a ZooKeeper server and what they are told, and checks
// afterwards that one order of all requests explains it.
//
// ZooKeeper promises two things (Z§6, Z§12). Writes, and reads behind a sync, are linearizable: they take effect in one
// order, each at a moment between its call and its return. Plain reads are sequentially consistent: a client sees the
// states of that same order, never goes back in it, and sees at least its own writes; but it may lag behind. Both must
// hold over crashes: a request whose answer was lost has been carried out once or never.
//
// A Recorder plays random requests with plain clients, one goroutine each; Linearizable and Sequential check the
// result. The first is decided by porcupine, a checker of linearizability; the second follows the zxids, which name a
// position in the server's order.
package history

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
)

// Kind is what a request asks for.
type Kind uint8

// The kinds.
const (
	Create     Kind = iota
	Set             // setData
	Delete          // delete
	Read            // getData, as it comes
	SyncedRead      // sync and getData behind it, sent together
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"create", "set", "delete", "read", "synced read"}[k]
}

func (k Kind) reads() bool { return k == Read || k == SyncedRead }

// Op is one request and its answer.
type Op struct {
	Client  int    // the session, which may have had several connections
	Kind    Kind   // what is asked for
	Path    string // of the node
	Value   string // create and set: the data, different in every request
	Version int32  // set and delete: -1 means any

	Call   int64 // when it was sent, on a clock that gives every moment another number
	Return int64 // when it was answered; 0 if it was not
	Code   jute.Code
	Zxid   int64     // in the header of the answer
	Got    string    // the data that was read
	Stat   jute.Stat // as answered to set and to reads
}

// String tells the request and its answer.
func (o Op) String() string {
	s := fmt.Sprintf("[%d..%d] client %d: %v %s", o.Call, o.Return, o.Client, o.Kind, o.Path)
	if !o.Kind.reads() {
		s += fmt.Sprintf(" %q if version %d", o.Value, o.Version)
	}
	if o.Return == 0 {
		return s + ": no answer"
	}
	return s + fmt.Sprintf(": %v at zxid 0x%x, %q, version %d since 0x%x", o.Code, o.Zxid, o.Got, o.Stat.Version, o.Stat.Mzxid)
}

// Recorder gathers the operations of all clients. Its methods may be called concurrently.
type Recorder struct {
	clock atomic.Int64
	mu    sync.Mutex // guards ops
	ops   []Op
}

// History returns everything recorded so far, in the order of the calls.
func (r *Recorder) History() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.ops)
	slices.SortFunc(out, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	return out
}

// Player plays random requests in one session.
type Player struct {
	r        *Recorder
	id       int
	rng      *rand.Rand
	paths    []string
	versions map[string]int32 // as last seen
	values   int              // values made so far
}

// NewPlayer returns a player. Its number must be different from that of every other player of the recorder.
func (r *Recorder) NewPlayer(id int, seed uint64, paths ...string) *Player {
	return &Player{r: r, id: id, rng: rand.New(rand.NewPCG(seed, uint64(id))), paths: paths, versions: map[string]int32{}}
}

// deepest is the number of requests that a player sends at once, at most.
const deepest = 3

// patience bounds the wait for an answer.
const patience = 20 * time.Second

// Play sends n random requests, a few at a time, or fewer if the connection ends; then it reports false. progress, which
// may be nil, is called at every answer.
func (p *Player) Play(c *zktest.Client, n int, progress func()) bool {
	for n > 0 {
		batch := make([]Op, 1+p.rng.IntN(deepest))
		n -= len(batch)
		for i := range batch {
			batch[i] = p.draw()
		}
		if !p.exchange(c, batch, progress) {
			return false
		}
	}
	return true
}

// ReadAll reads every path once, behind a sync.
func (p *Player) ReadAll(c *zktest.Client) bool {
	for _, path := range p.paths {
		if !p.exchange(c, []Op{{Client: p.id, Kind: SyncedRead, Path: path}}, nil) {
			return false
		}
	}
	return true
}

// draw makes up a request.
func (p *Player) draw() Op {
	op := Op{Client: p.id, Path: p.paths[p.rng.IntN(len(p.paths))], Version: -1}
	switch n := p.rng.IntN(20); {
	case n < 3:
		op.Kind = Create
	case n < 9:
		op.Kind = Set
	case n < 11:
		op.Kind = Delete
	case n < 16:
		op.Kind = Read
	default:
		op.Kind = SyncedRead
	}
	if op.Kind == Create || op.Kind == Set {
		p.values++
		op.Value = strconv.Itoa(p.id) + ":" + strconv.Itoa(p.values)
	}
	if version, known := p.versions[op.Path]; known && (op.Kind == Set || op.Kind == Delete) && p.rng.IntN(4) > 0 {
		op.Version = version
	}
	return op
}

// exchange sends requests and takes their answers. What was not answered when the connection ends is recorded as such.
func (p *Player) exchange(c *zktest.Client, batch []Op, progress func()) bool {
	for i := range batch {
		batch[i].Call = p.r.clock.Add(1)
		if !send(c, &batch[i]) {
			break // some of it may have left
		}
	}
	whole := true
	for i := range batch {
		if batch[i].Call == 0 {
			batch, whole = batch[:i], false // never sent
			break
		}
		if whole = whole && receive(c, &batch[i]); !whole {
			continue
		}
		batch[i].Return = p.r.clock.Add(1)
		p.learn(&batch[i])
		if progress != nil {
			progress()
		}
	}
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.r.ops = append(p.r.ops, batch...)
	return whole
}

// learn remembers the version of a node.
func (p *Player) learn(op *Op) {
	switch {
	case op.Code != jute.OK:
	case op.Kind == Create:
		p.versions[op.Path] = 0
	case op.Kind != Delete:
		p.versions[op.Path] = op.Stat.Version
	}
}

func send(c *zktest.Client, op *Op) bool {
	switch op.Kind {
	case Create:
		return c.TrySend(jute.OpCreate, &jute.CreateRequest{Path: op.Path, Data: []byte(op.Value), ACL: zktest.OpenACL()})
	case Set:
		return c.TrySend(jute.OpSetData, &jute.SetDataRequest{Path: op.Path, Data: []byte(op.Value), Version: op.Version})
	case Delete:
		return c.TrySend(jute.OpDelete, &jute.PathVersionRequest{Path: op.Path, Version: op.Version})
	case SyncedRead:
		if !c.TrySend(jute.OpSync, &jute.PathRequest{Path: op.Path}) {
			return false
		}
	case Read:
	}
	return c.TrySend(jute.OpGetData, &jute.PathWatchRequest{Path: op.Path})
}

func receive(c *zktest.Client, op *Op) bool {
	if op.Kind == SyncedRead {
		if _, err := c.TryFrame(patience); err != nil {
			return false
		}
	}
	body, err := c.TryFrame(patience)
	if err != nil {
		return false
	}
	d := jute.NewDecoder(body)
	var h jute.ReplyHeader
	h.Decode(d)
	if op.Code, op.Zxid = h.Err, h.Zxid; h.Err == jute.OK {
		if op.Kind.reads() {
			op.Got = string(d.Buffer())
		}
		if op.Kind.reads() || op.Kind == Set {
			op.Stat.Decode(d)
		}
	}
	c.LastZxid = max(c.LastZxid, h.Zxid)
	return d.Err() == nil
}
