package houserules

import (
	"slices"
	"strings"
	"testing"
)

// floors lists the rooms from the top of the house to the bottom. A room may import rooms of its own floor and of those below. A
// room that is not named belongs to the longest prefix that is.
var floors = [][]string{
	{"cmd", "broker/brokertest"},
	{"broker"},
	{"broker/server"},
	{"broker/replica", "controller"},
	{"broker/commitlog", "broker/group", "broker/txn", "broker/peer", "controller/channel", "controller/sim", "zk/store", "client/producer", "client/consumer", "client/admin", "client/internal"},
	{"proto/record", "broker/clock", "broker/epoch", "broker/metadata", "broker/contact", "broker/replica/state", "controller/state", "zk/znode", "zk/embedded", "zk/zktest", "client"},
	{"proto", "broker/vfs", "zk", "zk/jute", "config"},
}

// floor returns a room's floor, counted from the bottom, and the name it is known by.
func floor(dir string) (int, string) {
	best, name := -1, ""
	for i, rooms := range floors {
		for _, r := range rooms {
			if (dir == r || strings.HasPrefix(dir, r+"/")) && len(r) > len(name) {
				best, name = len(floors)-1-i, r
			}
		}
	}
	return best, name
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		own, _ := floor(s.dir)
		if own < 0 {
			t.Errorf("%s: the folder is on no floor: add it to the table in this test and to docs/ARCHITECTURE.md", s.path)
			continue
		}
		for _, imp := range s.imports() {
			rel, ok := strings.CutPrefix(imp, module+"/")
			if !ok {
				continue
			}
			if other, room := floor(rel); other > own {
				t.Errorf("%s imports %s, which is above it (room %s)", s.path, rel, room)
			}
		}
	}
}

// confined names packages that only some folders may import, outside tests.
var confined = []struct {
	pkg     string // this package and those below it
	folders []string
	why     string
}{
	{"google.golang.org/grpc", []string{"broker", "broker/server", "broker/peer", "controller/channel", "client", "proto/ottlapb", "proto/dial", "proto/wire", "cmd", "broker/brokertest"}, "nothing else may know the transport"},
	{"github.com/go-zookeeper/zk", []string{"zk"}, "a connection of that library is not a session"},
	{module + "/config", []string{"cmd", "broker", "broker/brokertest", "config"}, "a room gets the few values it needs"},
}

func TestSomePackagesAreConfined(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, imp := range s.imports() {
			for _, c := range confined {
				if imp != c.pkg && !strings.HasPrefix(imp, c.pkg+"/") {
					continue
				}
				in := func(f string) bool {
					if f == "cmd" || f == "client" || f == "config" {
						return s.dir == f || strings.HasPrefix(s.dir, f+"/")
					}
					return s.dir == f
				}
				if !slices.ContainsFunc(c.folders, in) {
					t.Errorf("%s imports %s: only %v may, because %s", s.path, imp, c.folders, c.why)
				}
			}
		}
	}
}

func TestTheClientKnowsNeitherBrokerNorZooKeeper(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.dir != "client" && !strings.HasPrefix(s.dir, "client/") {
			continue
		}
		for _, imp := range s.imports() {
			for _, not := range []string{"broker", "controller", "zk", "config"} {
				if imp == module+"/"+not || strings.HasPrefix(imp, module+"/"+not+"/") {
					t.Errorf("%s imports %s", s.path, imp)
				}
			}
		}
	}
}

// pure rooms decide and do nothing else.
var pure = []string{"controller/state", "broker/epoch", "broker/replica/state", "zk/znode", "proto/cluster", "proto/kerr", "proto/partition"}

func TestPureRoomsDoNothingButDecide(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.dir) {
			continue
		}
		for _, imp := range s.imports() {
			switch {
			case imp == "os", imp == "sync", imp == "sync/atomic", imp == "context", imp == "net", imp == "math/rand", imp == "math/rand/v2",
				strings.HasPrefix(imp, "google.golang.org/grpc"), strings.HasPrefix(imp, "github.com/hashicorp/go-hclog"):
				t.Errorf("%s imports %s: a pure room has no IO, no clock, no goroutines and no logging", s.path, imp)
			}
		}
	}
}

// openers may open files without going through broker/vfs.
var openers = []string{"broker/vfs", "config", "cmd"}

func TestFilesAreOpenedThroughTheFileSystemSeam(t *testing.T) {
	calls := []string{"os.Open(", "os.OpenFile(", "os.Create(", "os.ReadFile(", "os.WriteFile(", "os.Remove(", "os.RemoveAll(", "os.Rename(", "os.Mkdir(", "os.MkdirAll(", "os.ReadDir(", "os.Truncate("}
	for _, s := range sources(t) {
		if s.test || slices.ContainsFunc(openers, func(o string) bool { return s.dir == o || strings.HasPrefix(s.dir, o+"/") }) {
			continue
		}
		if s.dir == "zk/zktest" || strings.HasPrefix(s.dir, "zk/zktest/") {
			continue // they start Apache ZooKeeper for tests
		}
		text := read(t, s.path)
		for _, c := range calls {
			if strings.Contains(text, c) {
				t.Errorf("%s calls %s…): use broker/vfs", s.path, c)
			}
		}
	}
}
