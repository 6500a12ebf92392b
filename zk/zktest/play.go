package zktest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/zk/jute"
)

// Play sends the same random requests to two servers and fails where their answers, or the events that they send,
// differ. Numbers that a server chooses are translated: zxids to the count of the successful write that they belong
// to, sessions to the client that owns them; times are left out.
//
// What servers may answer differently is kept out of the game: nodes with restricted access lists are never watched,
// and a client uses either one-shot, persistent or recursive watches.
func Play(t testing.TB, a, b Server, seed uint64, steps int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	root := fmt.Sprintf("/play-%d", seed)
	sides := []*side{newSide(t, "first", a), newSide(t, "second", b)}
	g := &game{rng: rng, root: root}
	var log []string
	moves := append(g.opening(), nil)
	for i := range steps {
		move := moves[0]
		if move == nil {
			move = g.next()
		} else {
			moves = moves[1:]
		}
		got := [2]string{}
		for j, s := range sides {
			got[j] = move(s)
		}
		log = append(log, fmt.Sprintf("%4d %s", i, got[0]))
		if got[0] != got[1] {
			t.Fatalf("seed %d: the servers differ at step %d; until then:\n%s\nfirst:  %s\nsecond: %s",
				seed, i, strings.Join(log[max(0, len(log)-25):len(log)-1], "\n"), got[0], got[1])
		}
	}
}

// players is the number of clients; what they watch with differs.
const players = 4

const (
	persistentPlayer = 2
	recursivePlayer  = 3
)

// side is one of the servers in a game.
type side struct {
	t       testing.TB
	s       Server
	clients [players]*Client
	owners  map[int64]string // session to player
	writes  map[int64]int    // zxid to count
	zxids   []int64          // count to zxid
}

func newSide(t testing.TB, _ string, s Server) *side {
	sd := &side{t: t, s: s, owners: map[int64]string{}, writes: map[int64]int{0: 0}, zxids: []int64{0}}
	for i := range sd.clients {
		sd.join(i)
	}
	return sd
}

// join gives a player a new session.
func (sd *side) join(i int) {
	sd.t.Helper()
	c := sd.s.Open(sd.t)
	c.Handshake(jute.ConnectRequest{TimeoutMs: int32(20 * sd.s.Tick / time.Millisecond)})
	sd.clients[i] = c
	sd.owners[c.Session] = fmt.Sprintf("player%d.%d", i, len(sd.owners))
}

// wrote notes a successful write.
func (sd *side) wrote(zxid int64) {
	if _, known := sd.writes[zxid]; !known {
		sd.writes[zxid] = len(sd.zxids)
		sd.zxids = append(sd.zxids, zxid)
	}
}

func (sd *side) zxid(z int64) string {
	if n, ok := sd.writes[z]; ok {
		return fmt.Sprintf("w%d", n)
	}
	return fmt.Sprintf("unknown zxid %x", z)
}

func (sd *side) stat(s jute.Stat) string {
	owner := "-"
	if s.EphemeralOwner != 0 {
		if owner = sd.owners[s.EphemeralOwner]; owner == "" {
			owner = fmt.Sprintf("unknown session %x", s.EphemeralOwner)
		}
	}
	return fmt.Sprintf("{c=%s m=%s p=%s v=%d cv=%d av=%d owner=%s len=%d kids=%d}", sd.zxid(s.Czxid), sd.zxid(s.Mzxid),
		sd.zxid(s.Pzxid), s.Version, s.Cversion, s.Aversion, owner, s.DataLength, s.NumChildren)
}

// call sends a request for a player and describes the reply, then gathers everybody's events.
func (sd *side) call(player int, what string, op jute.Op, rec jute.Record, write bool, body func(d *jute.Decoder) string) string {
	sd.t.Helper()
	r := sd.clients[player].Call(op, rec)
	if write && r.Err == jute.OK {
		sd.wrote(r.Zxid)
	}
	out := fmt.Sprintf("player%d %s: %d", player, what, r.Err)
	if r.Err == jute.OK && body != nil {
		out += " " + body(r.Body)
	}
	return out + sd.events(map[int][]jute.WatcherEvent{player: r.Events}, false)
}

// events describes what every player has been told since the last time.
func (sd *side) events(already map[int][]jute.WatcherEvent, unordered bool) string {
	sd.t.Helper()
	var out strings.Builder
	for i, c := range sd.clients {
		got := append(already[i], c.Ping().Events...)
		if unordered {
			slices.SortFunc(got, func(x, y jute.WatcherEvent) int {
				return strings.Compare(fmt.Sprint(x.Path, x.Type), fmt.Sprint(y.Path, y.Type))
			})
		}
		for _, e := range got {
			fmt.Fprintf(&out, " [player%d: %d %s]", i, e.Type, e.Path)
		}
	}
	return out.String()
}

func (sd *side) readStat(d *jute.Decoder) string {
	var s jute.Stat
	if s.Decode(d); d.Err() != nil || d.Len() != 0 {
		return fmt.Sprintf("broken stat: %v, %d bytes left", d.Err(), d.Len())
	}
	return sd.stat(s)
}

// move is one step of a game, done on each side.
type move func(sd *side) string

// game draws moves.
type game struct {
	rng  *rand.Rand
	root string
	seq  int
}

// opening builds the scene.
func (g *game) opening() []move {
	var out []move
	for _, p := range []string{"", "/a", "/b", "/acl"} {
		out = append(out, g.create(0, jute.OpCreate, g.root+p, 0, OpenACL()))
	}
	for i, user := range []string{"u0:p", "u1:p"} {
		out = append(out, func(sd *side) string {
			return sd.call(i, "auth", jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: []byte(user)}, false, nil)
		})
	}
	return out
}

func pick[T any](g *game, from ...T) T { return from[g.rng.IntN(len(from))] }

// path draws a path in the part of the tree that is open to all.
func (g *game) path() string {
	return g.root + pick(g, "", "/a", "/a", "/b", "/a/x", "/a/y", "/a/x", "/b/x", "/a/x/1", "/a/x/2", "/b/x/1", "/c", "/c/d")
}

// guarded draws a path in the part whose nodes have access lists and no watches.
func (g *game) guarded() string { return g.root + "/acl" + pick(g, "/p", "/q", "/p/r", "/p/s", "/q/r") }

func (g *game) version() int32 { return pick[int32](g, -1, -1, -1, 0, 1, 2, 3) }

func (g *game) data() []byte {
	return pick(g, nil, []byte{}, []byte("x"), []byte("hello"), bytes.Repeat([]byte("z"), 20))
}

func (g *game) acl() []jute.ACL {
	return pick(g, OpenACL(), OpenACL(), []jute.ACL{{Perms: 31, Scheme: "auth"}},
		[]jute.ACL{{Perms: 31, Scheme: "auth"}, {Perms: 1, Scheme: "world", ID: "anyone"}},
		[]jute.ACL{{Perms: 5, Scheme: "digest", ID: "u1:ikIaKsbtGweaHnb/jKn7OHqbunM="}, {Perms: 31, Scheme: "auth"}},
		nil, []jute.ACL{{Perms: 1, Scheme: "world", ID: "anyone"}}, []jute.ACL{{Perms: 31, Scheme: "ip", ID: "127.0.0.0/8"}},
		[]jute.ACL{{Perms: 31, Scheme: "bogus", ID: "x"}})
}

// next draws a move.
func (g *game) next() move {
	player := g.rng.IntN(players)
	g.seq++
	switch n := g.rng.IntN(100); {
	case n < 18:
		return g.create(player, pick(g, jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer), g.path(),
			pick[jute.CreateMode](g, 0, 0, 0, 1, 1, 2, 3, 4, 5, 9), OpenACL())
	case n < 22:
		return g.create(player, jute.OpCreate, g.guarded(), pick[jute.CreateMode](g, 0, 1, 2), g.acl())
	case n < 34:
		return g.delete(player, pick(g, g.path(), g.path(), g.guarded()), g.version())
	case n < 44:
		return g.set(player, pick(g, g.path(), g.path(), g.guarded()), g.data(), g.version())
	case n < 48:
		return g.setACL(player, g.guarded(), g.acl(), g.version())
	case n < 50:
		return g.setACL(player, g.path(), OpenACL(), g.version())
	case n < 62:
		return g.read(player)
	case n < 68:
		return g.guardedRead(player)
	case n < 80:
		return g.multi(player)
	case n < 84:
		return g.multiRead(player)
	case n < 90:
		return g.addWatch()
	case n < 93:
		return g.withdraw(player)
	case n < 95:
		return g.setWatches(player)
	case n < 97:
		return g.leave(player)
	default:
		return g.reconnect(player)
	}
}

func (g *game) create(player int, op jute.Op, path string, mode jute.CreateMode, acl []jute.ACL) move {
	rec := &jute.CreateRequest{Path: path, Data: g.data(), ACL: acl, Mode: mode}
	return func(sd *side) string {
		return sd.call(player, fmt.Sprintf("create(%d) %s mode %d", op, path, mode), op, rec, true, func(d *jute.Decoder) string {
			out := d.String()
			if op != jute.OpCreate {
				out += " " + sd.readStat(d)
			}
			return out
		})
	}
}

func (g *game) delete(player int, path string, version int32) move {
	return func(sd *side) string {
		return sd.call(player, fmt.Sprintf("delete %s %d", path, version), jute.OpDelete,
			&jute.PathVersionRequest{Path: path, Version: version}, true, nil)
	}
}

func (g *game) set(player int, path string, data []byte, version int32) move {
	return func(sd *side) string {
		return sd.call(player, fmt.Sprintf("set %s %d", path, version), jute.OpSetData,
			&jute.SetDataRequest{Path: path, Data: data, Version: version}, true, sd.readStat)
	}
}

func (g *game) setACL(player int, path string, acl []jute.ACL, version int32) move {
	return func(sd *side) string {
		return sd.call(player, fmt.Sprintf("setACL %s %v %d", path, acl, version), jute.OpSetACL,
			&jute.SetACLRequest{Path: path, ACL: acl, Version: version}, true, sd.readStat)
	}
}

// oneShot reports whether a player may set one-shot watches.
func oneShot(player int) bool { return player != persistentPlayer && player != recursivePlayer }

func describeData(sd *side, d *jute.Decoder) string {
	data := d.Buffer()
	return fmt.Sprintf("%q nil=%v %s", data, data == nil, sd.readStat(d))
}

func describeChildren(sd *side, d *jute.Decoder) string {
	names := d.Strings()
	slices.Sort(names)
	if d.Len() == 0 {
		return fmt.Sprint(names)
	}
	return fmt.Sprint(names) + sd.readStat(d)
}

func (g *game) read(player int) move {
	op := pick(g, jute.OpGetData, jute.OpGetData, jute.OpGetChildren, jute.OpGetChildren2, jute.OpExists, jute.OpExists,
		jute.OpGetACL, jute.OpGetEphemerals, jute.OpGetAllChildrenNum, jute.OpSync)
	path, watch := g.path(), oneShot(player) && g.rng.IntN(2) == 0
	return func(sd *side) string {
		var rec jute.Record = &jute.PathWatchRequest{Path: path, Watch: watch}
		describe := sd.readStat
		switch op {
		case jute.OpGetData:
			describe = func(d *jute.Decoder) string { return describeData(sd, d) }
		case jute.OpGetChildren, jute.OpGetChildren2:
			describe = func(d *jute.Decoder) string { return describeChildren(sd, d) }
		case jute.OpGetACL:
			rec = &jute.PathRequest{Path: path}
			describe = func(d *jute.Decoder) string { return fmt.Sprint(d.ACLs()) + sd.readStat(d) }
		case jute.OpGetEphemerals:
			rec = &jute.PathRequest{Path: path}
			describe = func(d *jute.Decoder) string { return describeChildren(sd, d) }
		case jute.OpGetAllChildrenNum:
			rec = &jute.PathRequest{Path: path}
			describe = func(d *jute.Decoder) string { return fmt.Sprint(d.Int()) }
		case jute.OpSync:
			rec = &jute.PathRequest{Path: path}
			describe = func(d *jute.Decoder) string { return d.String() }
		default:
		}
		return sd.call(player, fmt.Sprintf("read(%d) %s watch=%v", op, path, watch), op, rec, false, describe)
	}
}

func (g *game) guardedRead(player int) move {
	path, op := g.guarded(), pick(g, jute.OpGetData, jute.OpGetACL, jute.OpGetChildren2)
	return func(sd *side) string {
		var rec jute.Record = &jute.PathWatchRequest{Path: path}
		describe := func(d *jute.Decoder) string { return describeData(sd, d) }
		switch op {
		case jute.OpGetACL:
			rec = &jute.PathRequest{Path: path}
			describe = func(d *jute.Decoder) string { return fmt.Sprint(d.ACLs()) + sd.readStat(d) }
		case jute.OpGetChildren2:
			describe = func(d *jute.Decoder) string { return describeChildren(sd, d) }
		default:
		}
		return sd.call(player, fmt.Sprintf("read(%d) %s", op, path), op, rec, false, describe)
	}
}

func (g *game) multi(player int) move {
	ops := make([]jute.MultiOp, g.rng.IntN(5))
	for i := range ops {
		path := pick(g, g.path(), g.path(), g.guarded())
		switch g.rng.IntN(5) {
		case 0, 1:
			ops[i] = jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: path, Data: g.data(), ACL: OpenACL(),
				Mode: pick[jute.CreateMode](g, 0, 0, 1, 2, 3, 8)}}
		case 2:
			ops[i] = jute.MultiOp{Op: jute.OpSetData, Record: &jute.SetDataRequest{Path: path, Data: g.data(), Version: g.version()}}
		case 3:
			ops[i] = jute.MultiOp{Op: jute.OpCheck, Record: &jute.PathVersionRequest{Path: path, Version: g.version()}}
		default:
			ops[i] = jute.MultiOp{Op: jute.OpDelete, Record: &jute.PathVersionRequest{Path: path, Version: g.version()}}
		}
	}
	return func(sd *side) string { return sd.multi(player, jute.OpMulti, ops) }
}

func (g *game) multiRead(player int) move {
	ops := make([]jute.MultiOp, g.rng.IntN(4))
	for i := range ops {
		ops[i] = jute.MultiOp{Op: pick(g, jute.OpGetData, jute.OpGetChildren),
			Record: &jute.PathWatchRequest{Path: pick(g, g.path(), g.path(), g.guarded())}}
	}
	return func(sd *side) string { return sd.multi(player, jute.OpMultiRead, ops) }
}

func (sd *side) multi(player int, op jute.Op, ops []jute.MultiOp) string {
	sd.t.Helper()
	r, results := sd.clients[player].Multi(op, ops...)
	failed := slices.ContainsFunc(results, func(x OpResult) bool { return x.Err != jute.OK })
	changes := slices.ContainsFunc(ops, func(x jute.MultiOp) bool { return x.Op != jute.OpCheck })
	if op == jute.OpMulti && r.Err == jute.OK && !failed && changes {
		sd.wrote(r.Zxid) // one that changes nothing need not have a zxid of its own
	}
	out := fmt.Sprintf("player%d multi(%d) %d", player, op, r.Err)
	for i, x := range results {
		slices.Sort(x.Kids)
		out += fmt.Sprintf(" <%d %+v: %d %d %s %q %v %s>", ops[i].Op, ops[i].Record, x.Op, x.Err, x.Path, x.Data, x.Kids, sd.stat(x.Stat))
	}
	return out + sd.events(map[int][]jute.WatcherEvent{player: r.Events}, false)
}

func (g *game) addWatch() move {
	player := pick(g, persistentPlayer, recursivePlayer)
	mode := jute.AddWatchMode(player - persistentPlayer)
	path := g.path()
	return func(sd *side) string {
		return sd.call(player, fmt.Sprintf("addWatch %s %d", path, mode), jute.OpAddWatch,
			&jute.AddWatchRequest{Path: path, Mode: mode}, false, func(d *jute.Decoder) string { return fmt.Sprint(d.Int()) })
	}
}

func (g *game) withdraw(player int) move {
	// checkWatches is left out: 3.8.0 takes any client's watch on the path for the asking one's.
	path, op, kind := g.path(), jute.OpRemoveWatches, jute.WatcherAny
	if oneShot(player) {
		kind = pick(g, jute.WatcherAny, jute.WatcherChildren, jute.WatcherData)
	}
	return func(sd *side) string {
		return sd.call(player, fmt.Sprintf("withdraw(%d) %s %d", op, path, kind), op, &jute.PathTypeRequest{Path: path, Type: kind}, false, nil)
	}
}

func (g *game) setWatches(player int) move {
	back := g.rng.IntN(8)
	var data, exist, child []string
	if oneShot(player) {
		data, exist, child = []string{g.path(), g.path()}, []string{g.path()}, []string{g.path(), g.path()}
	}
	return func(sd *side) string {
		rec := &jute.SetWatchesRequest{RelativeZxid: sd.zxids[max(0, len(sd.zxids)-1-back)], Data: data, Exist: exist, Child: child}
		return sd.call(player, fmt.Sprintf("setWatches %v %v %v -%d", data, exist, child, back), jute.OpSetWatches, rec, false, nil)
	}
}

// leave closes a player's session and gives it another.
func (g *game) leave(player int) move {
	return func(sd *side) string {
		r := sd.clients[player].EndSession()
		sd.wrote(r.Zxid)
		slices.SortFunc(r.Events, func(x, y jute.WatcherEvent) int { return strings.Compare(x.Path, y.Path) })
		own := fmt.Sprint(r.Events)
		sd.join(player)
		// In which order ephemerals go is not specified.
		return fmt.Sprintf("player%d leaves %s", player, own) + sd.events(nil, true)
	}
}

// reconnect takes up a player's session on a new connection, which has no watches and no identities.
func (g *game) reconnect(player int) move {
	return func(sd *side) string {
		old := sd.clients[player]
		c := sd.s.Open(sd.t)
		r := c.Handshake(jute.ConnectRequest{SessionID: old.Session, Password: old.Password, LastZxidSeen: old.LastZxid,
			TimeoutMs: int32(20 * sd.s.Tick / time.Millisecond)})
		old.Close()
		sd.clients[player] = c
		return fmt.Sprintf("player%d reconnects: same session %v", player, r.SessionID == old.Session) + sd.events(nil, false)
	}
}
