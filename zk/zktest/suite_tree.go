package zktest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ottla/ottla/zk/jute"
)

func statArithmetic(t *testing.T, s Server) {
	c, dir := room(t, s)
	fresh := c.MustStat(dir)
	z := c.LastZxid
	want(t, "a new node", fresh, jute.Stat{Czxid: z, Mzxid: z, Pzxid: z, Ctime: fresh.Ctime, Mtime: fresh.Ctime, DataLength: 1})

	wantParent := func(what string, cversion, kids int32, pzxid int64) {
		t.Helper()
		st := fresh
		st.Cversion, st.NumChildren, st.Pzxid = cversion, kids, pzxid
		want(t, what, c.MustStat(dir), st)
	}
	c.MustCreate(dir+"/a", nil, jute.ModePersistent)
	wantParent("parent after a create", 1, 1, c.LastZxid)
	c.MustCreate(dir+"/b", nil, jute.ModePersistent)
	second := c.LastZxid
	wantParent("parent after two creates", 2, 2, second)
	c.MustCreate(dir+"/a/grandchild", nil, jute.ModePersistent)
	wantParent("parent after a grandchild", 2, 2, second)
	want(t, "set of a child", codeOf(c.Set(dir+"/b", []byte("x"), -1)), jute.OK)
	wantParent("parent after a set of a child", 2, 2, second)
	want(t, "delete", c.Delete(dir+"/b", -1), jute.OK)
	third := c.LastZxid
	wantParent("parent after a delete", 3, 1, third)
	want(t, "delete", c.Delete(dir+"/a/grandchild", -1), jute.OK)
	want(t, "delete", c.Delete(dir+"/a", -1), jute.OK)
	wantParent("parent after two deletes", 4, 0, c.LastZxid)

	// setData and setACL.
	before := c.MustStat(dir)
	after, code := c.Set(dir, []byte("hello"), 0)
	want(t, "set with the right version", code, jute.OK)
	expect := before
	expect.Version, expect.Mzxid, expect.Mtime, expect.DataLength = 1, c.LastZxid, after.Mtime, 5
	want(t, "stat after a set", after, expect)
	_, code = c.Set(dir, []byte("no"), 0)
	want(t, "set with a stale version", code, jute.BadVersion)
	st, code := c.stat(c.Call(jute.OpSetACL, &jute.SetACLRequest{Path: dir, ACL: OpenACL(), Version: 0}))
	want(t, "setACL", code, jute.OK)
	expect.Aversion = 1
	want(t, "stat after setACL", st, expect)
	want(t, "setACL with a stale version",
		c.Call(jute.OpSetACL, &jute.SetACLRequest{Path: dir, ACL: OpenACL(), Version: 0}).Err, jute.BadVersion)
	want(t, "stat at the end", c.MustStat(dir), expect)
}

func codeOf(_ jute.Stat, code jute.Code) jute.Code { return code }

func sequenceNumbers(t *testing.T, s Server) {
	c, dir := room(t, s)
	for _, name := range []string{"/a", "/b"} {
		c.MustCreate(dir+name, nil, jute.ModePersistent)
		_, code := c.Create(dir+name, nil, jute.ModePersistent)
		want(t, "a duplicate", code, jute.NodeExists)
		want(t, "delete", c.Delete(dir+name, -1), jute.OK)
	}
	want(t, "first sequential", c.MustCreate(dir+"/s-", nil, jute.ModePersistentSequential), dir+"/s-0000000002")
	_, results := c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + "/m-", ACL: OpenACL(), Mode: jute.ModePersistentSequential}},
		jute.MultiOp{Op: jute.OpDelete, Record: &jute.PathVersionRequest{Path: dir + "/missing", Version: -1}})
	want(t, "a multi that must fail", results[1].Err, jute.NoNode)
	want(t, "after a failed multi", c.MustCreate(dir+"/s-", nil, jute.ModeEphemeralSequential), dir+"/s-0000000003")
	_, results = c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + "/m-", ACL: OpenACL(), Mode: jute.ModePersistentSequential}},
		jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + "/m-", ACL: OpenACL(), Mode: jute.ModePersistentSequential}})
	want(t, "in a multi", []string{results[0].Path, results[1].Path}, []string{dir + "/m-0000000004", dir + "/m-0000000005"})
	want(t, "with an empty last component", c.MustCreate(dir+"/", nil, jute.ModePersistentSequential), dir+"/0000000006")

	sub := c.MustCreate(dir+"/sub", nil, jute.ModePersistent)
	want(t, "of a new parent", c.MustCreate(sub+"/x", nil, jute.ModePersistentSequential), sub+"/x0000000000")
	want(t, "delete", c.Delete(sub+"/x0000000000", -1), jute.OK)
	want(t, "delete", c.Delete(sub, -1), jute.OK)
	c.MustCreate(sub, nil, jute.ModePersistent)
	want(t, "of a parent created again", c.MustCreate(sub+"/x", nil, jute.ModePersistentSequential), sub+"/x0000000000")
}

func createRefuses(t *testing.T, s Server) {
	c, dir := room(t, s)
	c.MustCreate(dir+"/e", nil, jute.ModeEphemeral)
	c.MustCreate(dir+"/p", nil, jute.ModePersistent)
	for _, tt := range []struct {
		what string
		op   jute.Op
		rq   jute.CreateRequest
		code jute.Code
	}{
		{"a mode above 6", jute.OpCreate, jute.CreateRequest{Path: dir + "/x", ACL: OpenACL(), Mode: 7}, jute.BadArguments},
		{"a negative mode", jute.OpCreate, jute.CreateRequest{Path: dir + "/x", ACL: OpenACL(), Mode: -1}, jute.BadArguments},
		{"mode TTL where it is not enabled", jute.OpCreate, jute.CreateRequest{Path: dir + "/x", ACL: OpenACL(), Mode: 5}, jute.Unimplemented},
		{"a TTL with another mode", jute.OpCreateTTL,
			jute.CreateRequest{Path: dir + "/x", ACL: OpenACL(), Mode: 0, TTLMs: 5, HasTTL: true}, jute.BadArguments},
		{"a TTL where it is not enabled", jute.OpCreateTTL,
			jute.CreateRequest{Path: dir + "/x", ACL: OpenACL(), Mode: 5, TTLMs: 5, HasTTL: true}, jute.Unimplemented},
		{"no access list", jute.OpCreate, jute.CreateRequest{Path: dir + "/x"}, jute.InvalidACL},
		{"no access list and no parent", jute.OpCreate, jute.CreateRequest{Path: dir + "/no/x"}, jute.InvalidACL},
		{"a missing parent", jute.OpCreate, jute.CreateRequest{Path: dir + "/no/x", ACL: OpenACL()}, jute.NoNode},
		{"an existing node", jute.OpCreate, jute.CreateRequest{Path: dir + "/p", ACL: OpenACL()}, jute.NodeExists},
		{"the root", jute.OpCreate, jute.CreateRequest{Path: "/", ACL: OpenACL()}, jute.NodeExists},
		{"an ephemeral parent", jute.OpCreate, jute.CreateRequest{Path: dir + "/e/x", ACL: OpenACL()}, jute.NoChildrenForEphemerals},
		{"a path without slash", jute.OpCreate, jute.CreateRequest{Path: "x", ACL: OpenACL()}, jute.BadArguments},
		{"an empty path", jute.OpCreate, jute.CreateRequest{Path: "", ACL: OpenACL()}, jute.BadArguments},
	} {
		want(t, tt.what, c.Call(tt.op, &tt.rq).Err, tt.code)
	}
	want(t, "parent afterwards", c.MustStat(dir).Cversion, 2)
}

func deleteRefuses(t *testing.T, s Server) {
	c, dir := room(t, s)
	c.MustCreate(dir+"/p", nil, jute.ModePersistent)
	c.MustCreate(dir+"/p/q", nil, jute.ModePersistent)
	want(t, "a missing node", c.Delete(dir+"/x", -1), jute.NoNode)
	want(t, "below a missing node", c.Delete(dir+"/x/y", -1), jute.NoNode)
	want(t, "a wrong version", c.Delete(dir+"/p", 1), jute.BadVersion)
	want(t, "a node with children", c.Delete(dir+"/p", 0), jute.NotEmpty)
	want(t, "a node with children and a wrong version", c.Delete(dir+"/p", 3), jute.BadVersion)
	want(t, "a trailing slash", c.Delete(dir+"/p/q/", -1), jute.NoNode)
	want(t, "no slash", c.Delete("x", -1), jute.BadArguments)
	want(t, "the right version", c.Delete(dir+"/p/q", 0), jute.OK)
}

func setRefuses(t *testing.T, s Server) {
	c, dir := room(t, s)
	set := func(path string, version int32) jute.Code {
		t.Helper()
		_, code := c.Set(path, nil, version)
		return code
	}
	want(t, "a missing node", set(dir+"/x", -1), jute.NoNode)
	want(t, "an invalid path", set(dir+"/", -1), jute.BadArguments)
	want(t, "a wrong version", set(dir, 5), jute.BadVersion)
	want(t, "the right version", set(dir, 0), jute.OK)
	for path, code := range map[string]jute.Code{dir: jute.InvalidACL, dir + "/x": jute.InvalidACL, dir + "//": jute.BadArguments} {
		want(t, "setACL "+path+" without entries", c.Call(jute.OpSetACL, &jute.SetACLRequest{Path: path, Version: -1}).Err, code)
	}
	want(t, "setACL of a missing node",
		c.Call(jute.OpSetACL, &jute.SetACLRequest{Path: dir + "/x", ACL: OpenACL(), Version: -1}).Err, jute.NoNode)
}

func paths(t *testing.T, s Server) {
	c, dir := room(t, s)
	for name, code := range map[string]jute.Code{
		"...": jute.OK, "a.": jute.OK, ".a": jute.OK, "\u00a0": jute.OK, "é": jute.OK, "漢": jute.OK, "\uf900": jute.OK,
		"\ufdef": jute.OK, "\uffef": jute.OK, " ": jute.OK, "~": jute.OK,
		".": jute.BadArguments, "..": jute.BadArguments, "x/": jute.NoNode, "/x": jute.NoNode, "": jute.BadArguments,
		"a\x00": jute.BadArguments, "a\x01": jute.BadArguments, "\x1f": jute.BadArguments, "\x7f": jute.BadArguments,
		"\u0085": jute.BadArguments, "\u009f": jute.BadArguments, "\ue000": jute.BadArguments, "\uf8ff": jute.BadArguments,
		"\ufff0": jute.BadArguments, "\ufffd": jute.BadArguments, "\uffff": jute.BadArguments, "😀": jute.BadArguments,
		"\xff": jute.BadArguments,
	} {
		_, got := c.Create(dir+"/"+name, nil, jute.ModePersistent)
		want(t, fmt.Sprintf("create %q", name), got, code)
	}
	for _, path := range []string{dir + "//", dir + "/.", "x", dir + "/\x01", dir + "/..."} {
		exists := jute.NoNode
		if strings.HasSuffix(path, "...") {
			exists = jute.OK
		}
		want(t, fmt.Sprintf("exists %q", path), codeOf(c.Exists(path, false)), exists)
	}
}

func nullData(t *testing.T, s Server) {
	c, dir := room(t, s)
	for _, data := range [][]byte{nil, {}, []byte("x"), nil} {
		stat, code := c.Set(dir, data, -1)
		want(t, "set", code, jute.OK)
		want(t, "length", int(stat.DataLength), len(data))
		got, _, _ := c.Get(dir, false)
		want(t, "null comes back as null, empty as empty", got, data)
	}
	for name, data := range map[string][]byte{"/null": nil, "/empty": {}} {
		c.MustCreate(dir+name, data, jute.ModePersistent)
		got, _, _ := c.Get(dir+name, false)
		want(t, "created "+name, got, data)
	}
}

func ephemerals(t *testing.T, s Server) {
	c, dir := room(t, s)
	other := s.Connect(t)
	c.MustCreate(dir+"/e", []byte("x"), jute.ModeEphemeral)
	c.MustCreate(dir+"/f", []byte("x"), jute.ModeEphemeral)
	want(t, "owner", other.MustStat(dir+"/e").EphemeralOwner, c.Session)
	want(t, "anybody may delete it", other.Delete(dir+"/f", -1), jute.OK)
	r := other.Call(jute.OpGetEphemerals, &jute.PathRequest{Path: dir})
	want(t, "ephemerals of another session", len(r.Body.Strings()), 0)
	r = c.Call(jute.OpGetEphemerals, &jute.PathRequest{Path: dir + "/"})
	want(t, "own ephemerals", r.Body.Strings(), []string{dir + "/e"})
	r = c.Call(jute.OpGetEphemerals, &jute.PathRequest{Path: dir + "/f"})
	want(t, "own ephemerals with another prefix", len(r.Body.Strings()), 0)
}

func createWithStat(t *testing.T, s Server) {
	c, dir := room(t, s)
	r := c.Call(jute.OpCreate2, &jute.CreateRequest{Path: dir + "/a", Data: []byte("abc"), ACL: OpenACL(), Mode: jute.ModeEphemeral})
	want(t, "create2 path", r.Body.String(), dir+"/a")
	stat, _ := c.stat(r)
	want(t, "create2 stat", stat, c.MustStat(dir+"/a"))
	want(t, "owner", stat.EphemeralOwner, c.Session)
	r = c.Call(jute.OpCreateContainer, &jute.CreateRequest{Path: dir + "/c", ACL: OpenACL(), Mode: jute.ModeContainer})
	want(t, "container path", r.Body.String(), dir+"/c")
	stat, _ = c.stat(r)
	want(t, "owner of a container", stat.EphemeralOwner, 0)
	c.MustCreate(dir+"/c/x", nil, jute.ModePersistent)
}

func multi(t *testing.T, s Server) {
	c, dir := room(t, s)
	create := func(name string, mode jute.CreateMode) jute.MultiOp {
		return jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + name, ACL: OpenACL(), Mode: mode}}
	}
	r, results := c.Multi(jute.OpMulti,
		create("/a", jute.ModePersistent),
		create("/a/b", jute.ModeEphemeral),
		jute.MultiOp{Op: jute.OpSetData, Record: &jute.SetDataRequest{Path: dir + "/a", Data: []byte("12"), Version: 0}},
		jute.MultiOp{Op: jute.OpCheck, Record: &jute.PathVersionRequest{Path: dir + "/a", Version: 1}},
		jute.MultiOp{Op: jute.OpDelete, Record: &jute.PathVersionRequest{Path: dir + "/a/b", Version: 0}})
	want(t, "header", r.Err, jute.OK)
	z := r.Zxid
	a := c.MustStat(dir + "/a")
	atSet := a
	atSet.Cversion, atSet.NumChildren = 1, 1
	want(t, "results", results, []OpResult{
		{Op: jute.OpCreate, Path: dir + "/a"},
		{Op: jute.OpCreate, Path: dir + "/a/b"},
		{Op: jute.OpSetData, Stat: atSet},
		{Op: jute.OpCheck},
		{Op: jute.OpDelete},
	}, cmpopts.IgnoreFields(jute.Stat{}, "Ctime", "Mtime"))
	want(t, "one zxid for all", []int64{a.Czxid, a.Mzxid, a.Pzxid}, []int64{z, z, z})
	want(t, "cversion", a.Cversion, 2)

	r, results = c.Multi(jute.OpMulti)
	want(t, "an empty multi", []any{r.Err, len(results)}, []any{jute.OK, 0})
	r, _ = c.Multi(jute.OpMulti, jute.MultiOp{Op: jute.OpGetData, Record: &jute.PathWatchRequest{Path: dir}},
		create("/z", jute.ModePersistent))
	want(t, "reads and writes mixed", r.Err, jute.MarshallingError)
	want(t, "alive afterwards", c.Ping().Err, jute.OK)

	_, results = c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCreateContainer, Record: &jute.CreateRequest{Path: dir + "/c", ACL: OpenACL(), Mode: jute.ModeContainer}},
		jute.MultiOp{Op: jute.OpCreate2, Record: &jute.CreateRequest{Path: dir + "/c2", ACL: OpenACL()}})
	want(t, "paths of create2 and createContainer", []string{results[0].Path, results[1].Path}, []string{dir + "/c", dir + "/c2"})
	want(t, "result type of createContainer", results[0].Op, jute.OpCreate2)
	if !s.Apache { // 3.8.0 answers create2 inside a multi as create
		want(t, "result type of create2", results[1].Op, jute.OpCreate2)
	}
}

func multiFails(t *testing.T, s Server) {
	c, dir := room(t, s)
	before := c.MustStat(dir)
	r, results := c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + "/x", ACL: OpenACL()}},
		jute.MultiOp{Op: jute.OpSetData, Record: &jute.SetDataRequest{Path: dir, Data: []byte("changed"), Version: -1}},
		jute.MultiOp{Op: jute.OpDelete, Record: &jute.PathVersionRequest{Path: dir + "/missing", Version: -1}},
		jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + "/y", ACL: OpenACL()}},
		jute.MultiOp{Op: jute.OpCheck, Record: &jute.PathVersionRequest{Path: dir, Version: -1}})
	want(t, "header of a failed multi", r.Err, jute.OK)
	codes := []jute.Code{}
	for _, res := range results {
		want(t, "result type", res.Op, jute.OpError)
		codes = append(codes, res.Err)
	}
	want(t, "codes", codes, []jute.Code{0, 0, jute.NoNode, jute.RuntimeInconsistency, jute.RuntimeInconsistency})
	want(t, "nothing has changed", c.MustStat(dir), before)
	_, code := c.Exists(dir+"/x", false)
	want(t, "no node was created", code, jute.NoNode)
	_, results = c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCheck, Record: &jute.PathVersionRequest{Path: dir, Version: 7}})
	want(t, "check of a wrong version", results, []OpResult{{Op: jute.OpError, Err: jute.BadVersion}})
	_, results = c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCheck, Record: &jute.PathVersionRequest{Path: dir + "/missing", Version: -1}})
	want(t, "check of a missing node", results, []OpResult{{Op: jute.OpError, Err: jute.NoNode}})
	want(t, "still nothing has changed", c.MustStat(dir), before)
}

func multiRead(t *testing.T, s Server) {
	c, dir := room(t, s)
	c.MustCreate(dir+"/a", []byte("A"), jute.ModePersistent)
	r, results := c.Multi(jute.OpMultiRead,
		jute.MultiOp{Op: jute.OpGetData, Record: &jute.PathWatchRequest{Path: dir + "/a"}},
		jute.MultiOp{Op: jute.OpGetData, Record: &jute.PathWatchRequest{Path: dir + "/missing"}},
		jute.MultiOp{Op: jute.OpGetChildren, Record: &jute.PathWatchRequest{Path: dir}})
	want(t, "header", r.Err, jute.OK)
	want(t, "results", results, []OpResult{
		{Op: jute.OpGetData, Data: []byte("A"), Stat: c.MustStat(dir + "/a")},
		{Op: jute.OpError, Err: jute.NoNode},
		{Op: jute.OpGetChildren, Kids: []string{"a"}},
	}, cmp.Options{})
	r, _ = c.Multi(jute.OpMultiRead, jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + "/z", ACL: OpenACL()}})
	want(t, "a write inside of multiRead", r.Err, jute.MarshallingError)
}
