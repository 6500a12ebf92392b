package zktest

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ottla/ottla/zk/jute"
)

func accessLists(t *testing.T, s Server) {
	c, dir := room(t, s)
	bob := s.Connect(t)
	bob.Call(jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: []byte("bob:pw")})
	const bobID = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="
	create := func(cl *Client, path string, acl ...jute.ACL) jute.Code {
		t.Helper()
		return cl.Call(jute.OpCreate, &jute.CreateRequest{Path: path, ACL: acl}).Err
	}
	getACL := func(cl *Client, path string) []jute.ACL {
		t.Helper()
		r := cl.Call(jute.OpGetACL, &jute.PathRequest{Path: path})
		if r.Err != jute.OK {
			t.Fatalf("getACL %s: %v", path, r.Err)
		}
		acl := r.Body.ACLs()
		bob.stat(r)
		return acl
	}
	for what, entry := range map[string]jute.ACL{
		"world nobody":          {Perms: 31, Scheme: "world", ID: "nobody"},
		"unknown scheme":        {Perms: 31, Scheme: "nosuch", ID: "x"},
		"auth without any":      {Perms: 31, Scheme: "auth"},
		"digest of one part":    {Perms: 31, Scheme: "digest", ID: "bob"},
		"digest of three":       {Perms: 31, Scheme: "digest", ID: "a:b:c"},
		"ip that is none":       {Perms: 31, Scheme: "ip", ID: "localhost"},
		"ip with too many bits": {Perms: 31, Scheme: "ip", ID: "1.2.3.4/33"},
	} {
		want(t, what, create(c, dir+"/bad", entry), jute.InvalidACL)
	}
	want(t, "auth", create(bob, dir+"/b", jute.ACL{Perms: 31, Scheme: "auth", ID: "ignored"}), jute.OK)
	want(t, "expanded", getACL(bob, dir+"/b"), []jute.ACL{{Perms: 31, Scheme: "digest", ID: bobID}})
	want(t, "read by a stranger", c.Call(jute.OpGetData, &jute.PathWatchRequest{Path: dir + "/b"}).Err, jute.NoAuth)
	want(t, "children by a stranger", c.Call(jute.OpGetChildren, &jute.PathWatchRequest{Path: dir + "/b"}).Err, jute.NoAuth)
	want(t, "getACL by a stranger", c.Call(jute.OpGetACL, &jute.PathRequest{Path: dir + "/b"}).Err, jute.NoAuth)
	want(t, "set by a stranger", codeOf(c.Set(dir+"/b", nil, -1)), jute.NoAuth)
	want(t, "set of a wrong version by a stranger", codeOf(c.Set(dir+"/b", nil, 9)), jute.NoAuth)
	want(t, "create below by a stranger", create(c, dir+"/b/x", OpenACL()...), jute.NoAuth)
	want(t, "setACL by a stranger",
		c.Call(jute.OpSetACL, &jute.SetACLRequest{Path: dir + "/b", ACL: OpenACL(), Version: -1}).Err, jute.NoAuth)
	want(t, "create below by the owner", create(bob, dir+"/b/x", OpenACL()...), jute.OK)
	want(t, "delete below by a stranger", c.Delete(dir+"/b/x", -1), jute.NoAuth)
	want(t, "of a missing node below by a stranger", c.Delete(dir+"/b/missing", -1), jute.NoAuth)
	if !s.Apache { // checked since 3.8.4
		want(t, "exists by a stranger", codeOf(c.Exists(dir+"/b", false)), jute.NoAuth)
	}
	_, results := c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCheck, Record: &jute.PathVersionRequest{Path: dir + "/b", Version: -1}})
	want(t, "check by a stranger", results[0].Err, jute.NoAuth)

	// What may be read but not administered hides the digests.
	want(t, "mixed", create(bob, dir+"/m", jute.ACL{Perms: 31, Scheme: "auth"}, jute.ACL{Perms: 1, Scheme: "world", ID: "anyone"},
		jute.ACL{Perms: 1, Scheme: "world", ID: "anyone"}), jute.OK)
	sorted := cmpopts.SortSlices(func(a, b jute.ACL) bool { return a.Scheme < b.Scheme })
	want(t, "seen by the owner", getACL(bob, dir+"/m"),
		[]jute.ACL{{Perms: 31, Scheme: "digest", ID: bobID}, {Perms: 1, Scheme: "world", ID: "anyone"}}, cmp.Options{sorted})
	want(t, "seen by a stranger", getACL(c, dir+"/m"),
		[]jute.ACL{{Perms: 31, Scheme: "digest", ID: "bob:x"}, {Perms: 1, Scheme: "world", ID: "anyone"}}, cmp.Options{sorted})
	want(t, "deletable by whoever may delete in the parent", c.Delete(dir+"/m", -1), jute.OK)
	want(t, "an address range elsewhere", create(c, dir+"/ip", jute.ACL{Perms: 31, Scheme: "ip", ID: "203.0.113.0/24"}), jute.OK)
	want(t, "read from elsewhere", c.Call(jute.OpGetData, &jute.PathWatchRequest{Path: dir + "/ip"}).Err, jute.NoAuth)
}

func authentication(t *testing.T, s Server) {
	c := s.Connect(t)
	for _, auth := range []string{"bob:pw", "nocolon", ""} {
		want(t, "digest "+auth, c.Call(jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: []byte(auth)}).Err, jute.OK)
	}
	xid := c.Send(jute.OpAuth, &jute.AuthRequest{Scheme: "nosuch", Auth: []byte("x")})
	want(t, "unknown scheme", c.Receive().ReplyHeader, jute.ReplyHeader{Xid: xid, Err: jute.AuthFailed})
	c.ExpectEnd(patience)

	who := s.Connect(t)
	who.Call(jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: []byte("bob:pw")})
	r := who.Call(jute.OpWhoAmI, nil)
	got := map[string]string{}
	for range r.Body.Count(8) {
		scheme := r.Body.String()
		got[scheme] = r.Body.String()
	}
	want(t, "whoAmI digest", got["digest"], "bob")
	want(t, "whoAmI schemes", len(got), 2)
}

func extras(t *testing.T, s Server) {
	c, dir := room(t, s)
	for _, p := range []string{"/a", "/a/b", "/a/b/c", "/d"} {
		c.MustCreate(dir+p, nil, jute.ModePersistent)
	}
	count := func(path string) int32 {
		t.Helper()
		r := c.Call(jute.OpGetAllChildrenNum, &jute.PathRequest{Path: path})
		if r.Err != jute.OK {
			t.Fatalf("getAllChildrenNumber %s: %v", path, r.Err)
		}
		return r.Body.Int()
	}
	want(t, "descendants", []int32{count(dir), count(dir + "/a"), count(dir + "/d")}, []int32{4, 2, 0})
	all := count("/")
	c.MustCreate(dir+"/e", nil, jute.ModePersistent)
	want(t, "one more below the root", count("/"), all+1)
	want(t, "descendants of a missing node", c.Call(jute.OpGetAllChildrenNum, &jute.PathRequest{Path: dir + "/x"}).Err, jute.NoNode)
	r := c.Call(jute.OpGetChildren, &jute.PathWatchRequest{Path: dir})
	names := r.Body.Strings()
	want(t, "getChildren has no stat", []int{len(names), r.Body.Len()}, []int{3, 0})
}

func sessionExpiry(t *testing.T, s Server) {
	watcher, dir := room(t, s)
	for _, connected := range []bool{true, false} {
		c := s.Open(t)
		c.Handshake(jute.ConnectRequest{TimeoutMs: int32(2 * s.Tick / time.Millisecond)})
		c.MustCreate(dir+"/e", nil, jute.ModeEphemeral)
		c.MustCreate(dir+"/f", nil, jute.ModeEphemeral)
		heard := time.Now()
		watcher.Children(dir, true)
		watcher.Exists(dir+"/e", true)
		before := watcher.MustStat(dir)
		if !connected {
			c.Close()
		}
		first, second := watcher.NextEvent(), watcher.NextEvent()
		took := time.Since(heard)
		got := map[jute.EventType]string{first.Type: first.Path, second.Type: second.Path}
		want(t, "events of an expiry", got,
			map[jute.EventType]string{jute.EventNodeDeleted: dir + "/e", jute.EventNodeChildrenChanged: dir})
		if took < 2*s.Tick || took > 4*s.Tick+2*time.Second {
			t.Errorf("expired after %v, timeout %v", took, 2*s.Tick)
		}
		after := watcher.MustStat(dir)
		if after.Pzxid <= before.Pzxid {
			t.Errorf("pzxid went from %x to %x", before.Pzxid, after.Pzxid)
		}
		want(t, "cversion", after.Cversion, before.Cversion+2)
		if connected {
			c.ExpectEnd(patience)
		}
		again := s.Open(t)
		r := again.Handshake(jute.ConnectRequest{SessionID: c.Session, Password: c.Password, TimeoutMs: 5000})
		want(t, "an expired session taken up", r.SessionID, 0)
	}
}

func sessionReattach(t *testing.T, s Server) {
	c, dir := room(t, s)
	c.MustCreate(dir+"/e", nil, jute.ModeEphemeral)
	c.Get(dir, true)
	again := s.Open(t)
	ms := int32(s.Tick / time.Millisecond)
	r := again.Handshake(jute.ConnectRequest{SessionID: c.Session, Password: c.Password, TimeoutMs: 7 * ms, LastZxidSeen: c.LastZxid})
	want(t, "same session", r.SessionID, c.Session)
	want(t, "same password", bytes.Equal(r.Password, c.Password), true)
	want(t, "new timeout", r.TimeoutMs, 7*ms)
	c.ExpectEnd(patience)
	want(t, "ephemeral still there", again.MustStat(dir+"/e").EphemeralOwner, c.Session)
	again.Set(dir, nil, -1)
	quiet(t, "watches of the old connection", again)
}

func closeSession(t *testing.T, s Server) {
	watcher, dir := room(t, s)
	c := s.Connect(t)
	c.MustCreate(dir+"/e", nil, jute.ModeEphemeral)
	c.MustCreate(dir+"/f", nil, jute.ModeEphemeral)
	before := watcher.MustStat(dir)
	watcher.Children(dir, true)
	c.Exists(dir+"/e", true)
	r := c.EndSession()
	want(t, "the closer's own event comes before the reply", r.Events, []jute.WatcherEvent{ev(jute.EventNodeDeleted, dir+"/e")})
	want(t, "one event for the common parent", watcher.NextEvent(), ev(jute.EventNodeChildrenChanged, dir))
	after := watcher.MustStat(dir)
	want(t, "pzxid is the reply's zxid", after.Pzxid, r.Zxid)
	want(t, "cversion", after.Cversion, before.Cversion+2)
	again := s.Open(t)
	got := again.Handshake(jute.ConnectRequest{SessionID: c.Session, Password: c.Password, TimeoutMs: 5000})
	want(t, "a closed session taken up", got.SessionID, 0)
	again.ExpectEnd(patience)
}

// word sends a four-letter word and returns the answer.
func word(t testing.TB, s Server, name string) string {
	t.Helper()
	c := s.Open(t)
	c.SendRaw([]byte(name))
	return string(c.ReadAll())
}

// fourLetterWords needs a server with all words allowed.
func fourLetterWords(t *testing.T, s Server) {
	c, dir := room(t, s)
	c.MustCreate(dir+"/e", nil, jute.ModeEphemeral)
	c.Get(dir, true)
	want(t, "ruok", word(t, s, "ruok"), "imok")
	want(t, "isro", word(t, s, "isro"), "rw")
	for name, pattern := range map[string]string{
		"srvr": `\AZookeeper version: .*, built on .*\nLatency min/avg/max: \d+/[0-9.]+/\d+\nReceived: \d+\nSent: \d+\n` +
			`Connections: \d+\nOutstanding: \d+\nZxid: 0x[0-9a-f]+\nMode: standalone\nNode count: \d+\n\z`,
		"stat": `\AZookeeper version: .*\nClients:\n( /\S+\[\d\]\(queued=\d+,recved=\d+,sent=\d+\)\n)+\nLatency min/avg/max: `,
		"cons": `(?m)^ /\S+\[1\]\(queued=\d+,recved=\d+,sent=\d+,sid=0x[0-9a-f]+,lop=\w+,est=\d+,to=\d+,(lcxid=0x[0-9a-f]+,)?` +
			`lzxid=0x[0-9a-f]+,lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+\)$`,
		"conf": `(?m)^clientPort=\d+\n(.*\n)*dataDir=.*\n(.*\n)*tickTime=500\n`,
		"mntr": `(?m)^zk_server_state\tstandalone\n(.*\n)*zk_znode_count\t\d+\n`,
		"dump": `(?m)\ASessionTracker dump:\nSession Sets \(\d+\)/\(\d+\):\n(.*\n)*ephemeral nodes dump:\nSessions with Ephemerals \(\d+\):\n` +
			`(.*\n)*0x[0-9a-f]+:\n\t` + regexp.QuoteMeta(dir) + `/e\n`,
		"wchs": `\A\d+ connections watching \d+ paths\nTotal watches:\d+\n\z`,
		"wchc": `(?m)^0x[0-9a-f]+\n(\t.*\n)*\t` + regexp.QuoteMeta(dir) + `\n`,
		"wchp": `(?m)^` + regexp.QuoteMeta(dir) + `\n\t0x[0-9a-f]+\n`,
		"dirs": `\Adatadir_size: \d+\nlogdir_size: \d+\n\z`,
		"envi": `\AEnvironment:\nzookeeper.version=`,
		"crst": `\AConnection stats reset.\n\z`,
		"srst": `\AServer stats reset.\n\z`,
	} {
		if got := word(t, s, name); !regexp.MustCompile(pattern).MatchString(got) {
			t.Errorf("%s answers\n%s\nwhich does not match %s", name, got, pattern)
		}
	}
	for _, line := range strings.Split(word(t, s, "mntr"), "\n") {
		if line != "" && !regexp.MustCompile(`^zk_\S+\t\S`).MatchString(line) {
			t.Errorf("mntr line %q", line)
		}
	}
	odd := s.Open(t)
	odd.SendRaw([]byte("zzzz"))
	odd.ExpectEnd(patience)
}
