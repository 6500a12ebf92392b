package tree

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/zk/jute"
)

// image is the whole state as bytes.
func image(t *Tree) []byte {
	var e jute.Encoder
	t.Encode(&e)
	return e.Bytes()
}

func open() []jute.ACL { return []jute.ACL{{Perms: jute.PermAll, Scheme: "world", ID: "anyone"}} }

// randomBatch fills a batch with random operations, most of which succeed.
func randomBatch(rng *rand.Rand, t *Tree, b *Batch) {
	sessions := t.Sessions()
	who := &Caller{IDs: []ID{{"digest", "u:hash"}}}
	if len(sessions) > 0 {
		who.Session = sessions[rng.IntN(len(sessions))].ID
	}
	for range 1 + rng.IntN(4) {
		path := []string{"/a", "/a/b", "/a/b/c", "/d", "/d/e", "/a/f"}[rng.IntN(6)]
		acl := [][]jute.ACL{open(), {{Perms: 31, Scheme: "auth"}}, {{Perms: 1, Scheme: "world", ID: "anyone"}}}[rng.IntN(3)]
		switch rng.IntN(9) {
		case 0, 1, 2:
			mode := jute.CreateMode(rng.IntN(7))
			op := jute.OpCreate
			if mode.TTL() {
				op = jute.OpCreateTTL
			}
			if mode.Ephemeral() && who.Session == 0 {
				mode = jute.ModePersistent
			}
			b.Create(who, op, &jute.CreateRequest{Path: path, Data: []byte(path), ACL: acl, Mode: mode, TTLMs: 1 + rng.Int64N(1000)},
				CreateLimits{AllowTTL: true})
		case 3, 4:
			b.Delete(who, path, -1)
		case 5, 6:
			b.SetData(who, &jute.SetDataRequest{Path: path, Data: make([]byte, rng.IntN(20)), Version: -1})
		case 7:
			b.SetACL(who, &jute.SetACLRequest{Path: path, ACL: acl, Version: -1})
		default:
			if rng.IntN(3) == 0 && len(sessions) > 0 && t.Session(who.Session) != nil {
				b.CloseSession(who.Session)
				who.Session = 0
				return
			}
			b.CreateSession(Session{ID: t.LastSession() + 1, TimeoutMs: 1000, Password: [16]byte{1, 2, 3}})
		}
	}
}

// TestRollbackReplayAndSnapshot drives a tree at random. A rolled back batch must leave no trace; a second tree that
// replays the committed transactions, encoded and decoded, must be the same to the last byte; and so must one that
// is loaded from the first one's snapshot.
func TestRollbackReplayAndSnapshot(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 7))
		live, shadow := New(), New()
		for step := range 200 {
			before := image(live)
			size := live.DataSize()
			b := live.Begin(live.LastZxid()+1, int64(step))
			randomBatch(rng, live, b)
			if rng.IntN(3) == 0 || b.Empty() {
				b.Rollback()
				if !bytes.Equal(before, image(live)) || live.DataSize() != size {
					t.Fatalf("seed %d step %d: a rollback left a trace", seed, step)
				}
				continue
			}
			txn, _ := b.Commit()
			var e jute.Encoder
			txn.Encode(&e)
			decoded, err := DecodeTxn(jute.NewDecoder(e.Bytes()))
			if err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			if err := shadow.Replay(&decoded); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			if !bytes.Equal(image(live), image(shadow)) {
				t.Fatalf("seed %d step %d: the replayed tree differs", seed, step)
			}
		}
		loaded, err := Load(jute.NewDecoder(image(live)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(image(live), image(loaded)) || loaded.DataSize() != live.DataSize() ||
			loaded.EphemeralCount() != live.EphemeralCount() || len(loaded.reapable) != len(live.reapable) {
			t.Fatalf("seed %d: the loaded tree differs", seed)
		}
	}
}

func TestReplayRefusesWhatDoesNotFit(t *testing.T) {
	for name, op := range map[string]Op{
		"create of a node that exists":   {Kind: OpCreate, Path: "/zookeeper"},
		"create below nothing":           {Kind: OpCreate, Path: "/x/y"},
		"create of a bad path":           {Kind: OpCreate, Path: "x"},
		"delete of nothing":              {Kind: OpDelete, Path: "/x"},
		"delete of a node with children": {Kind: OpDelete, Path: "/zookeeper"},
		"delete of the root":             {Kind: OpDelete, Path: "/"},
		"set of nothing":                 {Kind: OpSetData, Path: "/x"},
		"setACL of nothing":              {Kind: OpSetACL, Path: "/x"},
		"close of no session":            {Kind: OpCloseSession, Session: Session{ID: 9}},
		"an unknown operation":           {Kind: 99},
	} {
		if err := New().Replay(&Txn{Zxid: 1, Ops: []Op{op}}); err == nil {
			t.Errorf("%s was replayed", name)
		}
	}
	if err := New().Replay(&Txn{Zxid: 2}); err == nil || !strings.Contains(err.Error(), "does not follow") {
		t.Errorf("a gap in the zxids: %v", err)
	}
}

func TestReaper(t *testing.T) {
	tr := New()
	b := tr.Begin(1, 1000)
	who := &Caller{}
	create := func(op jute.Op, path string, mode jute.CreateMode, ttl int64) {
		t.Helper()
		if _, _, code := b.Create(who, op, &jute.CreateRequest{Path: path, ACL: open(), Mode: mode, TTLMs: ttl},
			CreateLimits{AllowTTL: true}); code != jute.OK {
			t.Fatal(path, code)
		}
	}
	create(jute.OpCreateContainer, "/used", jute.ModeContainer, 0)
	create(jute.OpCreate, "/used/x", 0, 0)
	create(jute.OpCreateContainer, "/unused", jute.ModeContainer, 0)
	create(jute.OpCreateTTL, "/ttl", jute.ModeTTL, 500)
	create(jute.OpCreateTTL, "/busy", jute.ModeTTL, 500)
	create(jute.OpCreate, "/busy/x", 0, 0)
	for _, tt := range []struct {
		now  int64
		want []string
	}{{1500, nil}, {1501, []string{"/ttl"}}} {
		if diff := cmp.Diff(tt.want, tr.Reapable(tt.now, 10)); diff != "" {
			t.Errorf("at %d (-want +got):\n%s", tt.now, diff)
		}
	}
	b.Delete(who, "/used/x", -1)
	b.Delete(who, "/busy/x", -1)
	if diff := cmp.Diff([]string{"/busy", "/ttl", "/used"}, tr.Reapable(1501, 10)); diff != "" {
		t.Errorf("later (-want +got):\n%s", diff)
	}
	if got := tr.Reapable(1501, 2); len(got) != 2 {
		t.Errorf("with a limit of 2: %v", got)
	}
	if !b.Reap("/used") || b.Reap("/used") || b.Reap("/zookeeper") {
		t.Error("reap")
	}
}

func TestAccess(t *testing.T) {
	who := &Caller{IDs: []ID{{"ip", "10.1.2.3"}, {"digest", "bob:x"}}}
	for _, tt := range []struct {
		acl  jute.ACL
		perm int32
		want bool
	}{
		{jute.ACL{Perms: 1, Scheme: "world", ID: "anyone"}, jute.PermRead, true},
		{jute.ACL{Perms: 1, Scheme: "world", ID: "anyone"}, jute.PermWrite, false},
		{jute.ACL{Perms: 31, Scheme: "digest", ID: "bob:x"}, jute.PermWrite, true},
		{jute.ACL{Perms: 31, Scheme: "digest", ID: "bob:y"}, jute.PermWrite, false},
		{jute.ACL{Perms: 31, Scheme: "ip", ID: "10.1.0.0/16"}, jute.PermWrite, true},
		{jute.ACL{Perms: 31, Scheme: "ip", ID: "10.2.0.0/16"}, jute.PermWrite, false},
		{jute.ACL{Perms: 31, Scheme: "ip", ID: "10.1.2.3"}, jute.PermWrite, true},
		{jute.ACL{Perms: 31, Scheme: "ip", ID: "0.0.0.0/0"}, jute.PermWrite, true},
	} {
		if got := who.Allowed([]jute.ACL{tt.acl, {Perms: 0, Scheme: "world", ID: "anyone"}}, tt.perm); got != tt.want {
			t.Errorf("%+v for %d: %v", tt.acl, tt.perm, got)
		}
	}
	super := &Caller{IDs: []ID{{"super", ""}}}
	if !super.Allowed(nil, jute.PermAdmin) || !(&Caller{SkipACL: true}).Allowed(nil, jute.PermAdmin) || who.Allowed(nil, 31) {
		t.Error("super, skipped or empty")
	}
	if got := DigestID([]byte("bob:pw")); got != "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=" {
		t.Error(got)
	}
	if got := DigestID([]byte("super:test")); got != "super:D/InIHSb7yEEbrWz8b9l71RjZJU=" {
		t.Error(got)
	}
}

// FuzzTxn decodes and replays arbitrary bytes.
func FuzzTxn(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	tr := New()
	for i := range 50 {
		b := tr.Begin(tr.LastZxid()+1, int64(i))
		randomBatch(rng, tr, b)
		txn, _ := b.Commit()
		txn.Zxid = 1
		var e jute.Encoder
		txn.Encode(&e)
		f.Add(e.Bytes())
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		txn, err := DecodeTxn(jute.NewDecoder(p))
		if err != nil {
			return
		}
		txn.Zxid = 1
		tr := New()
		if tr.Replay(&txn) == nil {
			if _, err := Load(jute.NewDecoder(image(tr))); err != nil {
				t.Fatalf("a replayed tree cannot be loaded: %v", err)
			}
		}
	})
}

// FuzzLoad loads arbitrary bytes as a snapshot.
func FuzzLoad(f *testing.F) {
	f.Add(image(New()))
	f.Fuzz(func(t *testing.T, p []byte) {
		tr, err := Load(jute.NewDecoder(p))
		if err != nil {
			return
		}
		if _, err := Load(jute.NewDecoder(image(tr))); err != nil {
			t.Fatalf("a loaded tree cannot be loaded again: %v", err)
		}
	})
}

func BenchmarkSetData(b *testing.B) {
	tr := New()
	bt := tr.Begin(1, 1)
	bt.Create(&Caller{}, jute.OpCreate, &jute.CreateRequest{Path: "/a", ACL: open()}, CreateLimits{})
	bt.Commit()
	rq := &jute.SetDataRequest{Path: "/a", Data: make([]byte, 100), Version: -1}
	b.ReportAllocs()
	for i := int64(2); b.Loop(); i++ {
		bt := tr.Begin(i, i)
		bt.SetData(&Caller{}, rq)
		bt.Commit()
	}
}

func ExampleDigestID() {
	fmt.Println(DigestID([]byte("super:test")))
	// Output: super:D/InIHSb7yEEbrWz8b9l71RjZJU=
}
