package zktest

import (
	"testing"

	"github.com/ottla/ottla/zk/jute"
)

func ev(kind jute.EventType, path string) jute.WatcherEvent {
	return jute.WatcherEvent{Type: kind, State: jute.EventStateConnected, Path: path}
}

// quiet checks that no event has arrived.
func quiet(t testing.TB, what string, c *Client) {
	t.Helper()
	if got := c.Ping().Events; len(got) != 0 {
		t.Errorf("%s: events %v", what, got)
	}
}

func watchesFire(t *testing.T, s Server) {
	c, dir := room(t, s)
	const created, deleted, changed, kids = jute.EventNodeCreated, jute.EventNodeDeleted, jute.EventNodeDataChanged, jute.EventNodeChildrenChanged

	c.Children(dir, true)
	c.Exists(dir+"/a", true)
	r := c.Call(jute.OpCreate, &jute.CreateRequest{Path: dir + "/a", ACL: OpenACL()})
	want(t, "events of a create, before its reply", r.Events, []jute.WatcherEvent{ev(created, dir+"/a"), ev(kids, dir)})

	c.Get(dir+"/a", true)
	c.Exists(dir+"/a", true)
	c.Children(dir, true)
	c.Children(dir+"/a", true)
	r = c.Call(jute.OpSetData, &jute.SetDataRequest{Path: dir + "/a", Version: -1})
	want(t, "events of a set: one for two registrations, none for child watches", r.Events, []jute.WatcherEvent{ev(changed, dir+"/a")})
	r = c.Call(jute.OpSetData, &jute.SetDataRequest{Path: dir + "/a", Version: -1})
	want(t, "events of a second set", len(r.Events), 0)

	c.Get(dir+"/a", true)
	r = c.Call(jute.OpDelete, &jute.PathVersionRequest{Path: dir + "/a", Version: -1})
	want(t, "events of a delete: one for data and child watch", r.Events, []jute.WatcherEvent{ev(deleted, dir+"/a"), ev(kids, dir)})
	c.MustCreate(dir+"/a", nil, jute.ModePersistent)
	quiet(t, "the child watch of the deleted node is used up", c)

	// A data watch does not hear of children, nor of access lists.
	c.Get(dir, true)
	c.Exists(dir, true)
	r = c.Call(jute.OpCreate, &jute.CreateRequest{Path: dir + "/b", ACL: OpenACL()})
	want(t, "data watch when a child is created", len(r.Events), 0)
	r = c.Call(jute.OpSetACL, &jute.SetACLRequest{Path: dir, ACL: OpenACL(), Version: -1})
	want(t, "data watch when the access list is set", len(r.Events), 0)
	c.Children(dir+"/b", true)
	r = c.Call(jute.OpDelete, &jute.PathVersionRequest{Path: dir + "/b", Version: -1})
	want(t, "child watch of a deleted node", r.Events, []jute.WatcherEvent{ev(deleted, dir+"/b")})

	// Failed changes fire nothing; a multi fires in order, before its reply.
	c.Get(dir+"/a", true)
	c.Children(dir, true)
	c.Set(dir+"/a", nil, 77)
	c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpSetData, Record: &jute.SetDataRequest{Path: dir + "/a", Version: -1}},
		jute.MultiOp{Op: jute.OpDelete, Record: &jute.PathVersionRequest{Path: dir + "/zzz", Version: -1}})
	quiet(t, "after failures", c)
	c.Exists(dir+"/n", true)
	multiReply, _ := c.Multi(jute.OpMulti,
		jute.MultiOp{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: dir + "/n", ACL: OpenACL()}},
		jute.MultiOp{Op: jute.OpSetData, Record: &jute.SetDataRequest{Path: dir + "/a", Version: -1}})
	want(t, "events of a multi", multiReply.Events,
		[]jute.WatcherEvent{ev(created, dir+"/n"), ev(kids, dir), ev(changed, dir+"/a")})
}

func watchesOfMissing(t *testing.T, s Server) {
	c, dir := room(t, s)
	_, _, code := c.Get(dir+"/x", true)
	want(t, "getData of a missing node", code, jute.NoNode)
	_, _, code = c.Children(dir+"/x", true)
	want(t, "getChildren of a missing node", code, jute.NoNode)
	c.MustCreate(dir+"/x", nil, jute.ModePersistent)
	quiet(t, "a read of a missing node leaves no watch", c)
	want(t, "exists of a missing node", codeOf(c.Exists(dir+"/y", true)), jute.NoNode)
	r := c.Call(jute.OpCreate, &jute.CreateRequest{Path: dir + "/y", ACL: OpenACL()})
	want(t, "exists of a missing node leaves a watch", r.Events, []jute.WatcherEvent{ev(jute.EventNodeCreated, dir+"/y")})
}

func watchesAcross(t *testing.T, s Server) {
	writer, dir := room(t, s)
	reader := s.Connect(t)
	for i := range 50 {
		_, stat, _ := reader.Get(dir, true)
		writer.Set(dir, []byte{byte(i)}, -1)
		// The reader must see the event before any reply that shows the new data.
		for {
			r := reader.Call(jute.OpGetData, &jute.PathWatchRequest{Path: dir})
			_ = r.Body.Buffer()
			now, _ := reader.stat(r)
			if now.Version == stat.Version+1 {
				want(t, "event before the reply that shows the change", r.Events, []jute.WatcherEvent{ev(jute.EventNodeDataChanged, dir)})
				break
			}
			want(t, "event without a change to be seen", len(r.Events), 0)
		}
	}
}

func persistentWatches(t *testing.T, s Server) {
	c, dir := room(t, s)
	sub := dir + "/w"
	r := c.Call(jute.OpAddWatch, &jute.AddWatchRequest{Path: sub, Mode: jute.AddWatchPersistent})
	want(t, "addWatch of a missing node", []int32{int32(r.Err), r.Body.Int()}, []int32{0, 0})
	want(t, "addWatch with a bad mode", c.Call(jute.OpAddWatch, &jute.AddWatchRequest{Path: sub, Mode: 7}).Err, jute.MarshallingError)
	steps := func(w *Client, path string, expect ...[]jute.WatcherEvent) {
		t.Helper()
		for i, step := range []func(){
			func() { w.MustCreate(path, nil, jute.ModePersistent) },
			func() { w.Set(path, nil, -1) },
			func() { w.Set(path, nil, -1) },
			func() { w.MustCreate(path+"/k", nil, jute.ModePersistent) },
			func() { w.Set(path+"/k", nil, -1) },
			func() { w.Delete(path+"/k", -1) },
			func() { w.Delete(path, -1) },
		} {
			step()
			got := append([]jute.WatcherEvent{}, c.Ping().Events...)
			want(t, "persistent watch, step "+string(rune('1'+i)), got, expect[i])
		}
	}
	w := s.Connect(t)
	none := []jute.WatcherEvent{}
	one := func(kind jute.EventType, path string) []jute.WatcherEvent { return []jute.WatcherEvent{ev(kind, path)} }
	for range 2 { // it survives the node
		steps(w, sub, one(1, sub), one(3, sub), one(3, sub), one(4, sub), none, one(4, sub), one(2, sub))
	}
	rec := dir + "/r"
	c.Call(jute.OpAddWatch, &jute.AddWatchRequest{Path: rec, Mode: jute.AddWatchPersistentRecursive})
	k := rec + "/k"
	for range 2 {
		steps(w, rec, one(1, rec), one(3, rec), one(3, rec), one(1, k), one(3, k), one(2, k), one(2, rec))
	}
	if s.Apache { // 3.8.0 turns a persistent watch into a one-shot
		return
	}
	w.MustCreate(sub, nil, jute.ModePersistent)
	want(t, "created again", c.Ping().Events, one(1, sub))
	c.Get(sub, true)
	w.Set(sub, nil, -1)
	w.Set(sub, nil, -1)
	want(t, "a plain watch beside a persistent one", c.Ping().Events, []jute.WatcherEvent{ev(3, sub), ev(3, sub)})
}

func removeWatches(t *testing.T, s Server) {
	c, dir := room(t, s)
	remove := func(path string, kind jute.WatcherType) jute.Code {
		t.Helper()
		return c.Call(jute.OpRemoveWatches, &jute.PathTypeRequest{Path: path, Type: kind}).Err
	}
	check := func(path string, kind jute.WatcherType) jute.Code {
		t.Helper()
		return c.Call(jute.OpCheckWatches, &jute.PathTypeRequest{Path: path, Type: kind}).Err
	}
	want(t, "remove what is not there", remove(dir, jute.WatcherAny), jute.NoWatcher)
	c.Get(dir, true)
	want(t, "check data", check(dir, jute.WatcherData), jute.OK)
	want(t, "check children", check(dir, jute.WatcherChildren), jute.NoWatcher)
	want(t, "remove children", remove(dir, jute.WatcherChildren), jute.NoWatcher)
	want(t, "remove data", remove(dir, jute.WatcherData), jute.OK)
	want(t, "remove data again", remove(dir, jute.WatcherData), jute.NoWatcher)
	c.Get(dir, true)
	c.Children(dir, true)
	want(t, "remove any", remove(dir, jute.WatcherAny), jute.OK)
	want(t, "check any", check(dir, jute.WatcherAny), jute.NoWatcher)
	c.Set(dir, nil, -1)
	c.MustCreate(dir+"/x", nil, jute.ModePersistent)
	quiet(t, "removed watches", c)
}

func setWatches(t *testing.T, s Server) {
	c, dir := room(t, s)
	for _, name := range []string{"/changed", "/same", "/gone", "/kids", "/quietkids", "/gonekids"} {
		c.MustCreate(dir+name, nil, jute.ModePersistent)
	}
	seen := c.LastZxid
	w := s.Connect(t)
	w.Set(dir+"/changed", nil, -1)
	w.MustCreate(dir+"/same/child", nil, jute.ModePersistent)
	w.Delete(dir+"/gone", -1)
	w.MustCreate(dir+"/appeared", nil, jute.ModePersistent)
	w.MustCreate(dir+"/kids/k", nil, jute.ModePersistent)
	w.Set(dir+"/quietkids", nil, -1)
	w.Delete(dir+"/gonekids", -1)

	again := s.Connect(t)
	r := again.Call(jute.OpSetWatches, &jute.SetWatchesRequest{
		RelativeZxid: seen,
		Data:         []string{dir + "/changed", dir + "/same", dir + "/gone"},
		Exist:        []string{dir + "/appeared", dir + "/never"},
		Child:        []string{dir + "/kids", dir + "/quietkids", dir + "/gonekids"},
	})
	want(t, "setWatches", []int{int(r.Err), r.Body.Len()}, []int{0, 0})
	want(t, "events of what was missed, in order, before the reply", r.Events, []jute.WatcherEvent{
		ev(3, dir+"/changed"), ev(2, dir+"/gone"), ev(1, dir+"/appeared"), ev(4, dir+"/kids"), ev(2, dir+"/gonekids"),
	})
	w.Set(dir+"/same", nil, -1)
	w.MustCreate(dir+"/never", nil, jute.ModePersistent)
	w.MustCreate(dir+"/quietkids/k", nil, jute.ModePersistent)
	w.Set(dir+"/changed", nil, -1)
	w.MustCreate(dir+"/kids/k2", nil, jute.ModePersistent)
	want(t, "events of what was armed", again.Ping().Events, []jute.WatcherEvent{
		ev(3, dir+"/same"), ev(1, dir+"/never"), ev(4, dir+"/quietkids"),
	})

	r = again.Call(jute.OpSetWatches2, &jute.SetWatchesRequest{
		V2: true, RelativeZxid: seen, Data: []string{dir + "/changed"},
		Persistent: []string{dir + "/p"}, Recursive: []string{dir + "/kids"},
	})
	want(t, "setWatches2", []int{int(r.Err), r.Body.Len()}, []int{0, 0})
	want(t, "events of setWatches2", r.Events, []jute.WatcherEvent{ev(3, dir+"/changed")})
	w.Set(dir+"/kids/k", nil, -1)
	w.MustCreate(dir+"/p", nil, jute.ModePersistent)
	w.Set(dir+"/p", nil, -1)
	want(t, "persistent watches of setWatches2", again.Ping().Events, []jute.WatcherEvent{
		ev(3, dir+"/kids/k"), ev(1, dir+"/p"), ev(3, dir+"/p"),
	})
}
