package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/zk/jute"
)

// registration is one watch, as plainly as it can be written down.
type registration struct {
	table string // "data" or "child"
	path  string
	who   int
	mode  Mode
}

// plain is the dumb twin of Set: a list that is searched from end to end.
type plain struct{ all []registration }

func (p *plain) add(r registration) {
	if !slices.Contains(p.all, r) {
		p.all = append(p.all, r)
	}
}

func (p *plain) drop(match func(r registration) bool) bool {
	n := len(p.all)
	p.all = slices.DeleteFunc(p.all, match)
	return len(p.all) < n
}

func (p *plain) change(event jute.EventType, path, parent string) []string {
	var out []string
	told := map[int]bool{}
	fire := func(table, at string, event jute.EventType, except map[int]bool) {
		heard := map[int]bool{}
		for _, r := range p.all {
			here := r.path == at && r.mode != Recursive
			above := r.mode == Recursive && event != jute.EventNodeChildrenChanged &&
				(r.path == at || r.path == "/" || strings.HasPrefix(at, r.path+"/"))
			if r.table == table && (here || above) && !except[r.who] && !heard[r.who] {
				heard[r.who] = true
				out = append(out, fmt.Sprint(r.who, event, at))
			}
		}
		p.drop(func(r registration) bool { return r.table == table && r.path == at && r.mode == Standard })
		if table == "data" {
			told = heard
		}
	}
	fire("data", path, event, nil)
	if event == jute.EventNodeDeleted {
		fire("child", path, event, told)
	}
	if event != jute.EventNodeDataChanged {
		fire("child", parent, jute.EventNodeChildrenChanged, nil)
	}
	slices.Sort(out)
	return out
}

// TestTheSetAgreesWithAPlainList plays random registrations and changes on the set and on its dumb twin.
func TestTheSetAgreesWithAPlainList(t *testing.T) {
	paths := []string{"/", "/a", "/a/b", "/a/b/c", "/ab", "/a/d"}
	parents := map[string]string{"/a": "/", "/a/b": "/a", "/a/b/c": "/a/b", "/ab": "/", "/a/d": "/a"}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		s, p := New[int](), &plain{}
		for step := range 300 {
			path, who := paths[rng.IntN(len(paths))], rng.IntN(4)
			switch rng.IntN(8) {
			case 0:
				s.AddData(path, who)
				p.add(registration{"data", path, who, Standard})
			case 1:
				s.AddChild(path, who)
				p.add(registration{"child", path, who, Standard})
			case 2:
				mode := []Mode{Persistent, Recursive}[rng.IntN(2)]
				s.AddPersistent(path, who, mode == Recursive)
				p.add(registration{"data", path, who, mode})
				p.add(registration{"child", path, who, mode})
			case 3:
				kind := jute.WatcherType(1 + rng.IntN(5))
				mask := typeMasks[kind]
				had := s.Has(path, who, kind)
				got := s.Remove(path, who, kind)
				want := p.drop(func(r registration) bool {
					return r.path == path && r.who == who &&
						((r.table == "data" && r.mode&mask.data != 0) || (r.table == "child" && r.mode&mask.child != 0))
				})
				if got != want || had != want {
					t.Fatalf("seed %d step %d: remove %s %d: had %v, removed %v, want %v", seed, step, path, kind, had, got, want)
				}
			case 4:
				if rng.IntN(5) == 0 {
					s.Drop(who)
					p.drop(func(r registration) bool { return r.who == who })
				}
			default:
				event := jute.EventType(1 + rng.IntN(3))
				if path == "/" {
					event = jute.EventNodeDataChanged
				}
				var got []string
				s.Change(event, path, parents[path], func(w int, e jute.EventType, at string) {
					got = append(got, fmt.Sprint(w, e, at))
				})
				slices.Sort(got)
				if want := p.change(event, path, parents[path]); !slices.Equal(got, want) {
					t.Fatalf("seed %d step %d: %d on %s: told %v, want %v", seed, step, event, path, got, want)
				}
			}
			check(t, s, p)
		}
	}
}

// check compares the counts, and the set's own books.
func check(t *testing.T, s *Set[int], p *plain) {
	t.Helper()
	paths, who, recursive := map[string]bool{}, map[int]bool{}, 0
	places := map[string]bool{}
	for _, r := range p.all {
		paths[r.path], who[r.who] = true, true
		places[fmt.Sprint(r.table, r.path, r.who)] = true
		if r.mode == Recursive && r.table == "data" {
			recursive++
		}
	}
	if s.Paths() != len(paths) || s.Watchers() != len(who) || s.Count() != len(places) || s.recursive != recursive {
		t.Fatalf("paths %d watchers %d count %d recursive %d, want %d %d %d %d",
			s.Paths(), s.Watchers(), s.Count(), s.recursive, len(paths), len(who), len(places), recursive)
	}
	n := 0
	for _, at := range s.ByWatcher() {
		n += len(at)
	}
	weight := map[int]int{}
	for w, at := range s.paths {
		for path := range at {
			weight[w] += len(path) + overhead
		}
	}
	for w, n := range weight {
		if s.Weight(w) != n || len(s.weight) != len(weight) {
			t.Fatalf("watcher %d weighs %d, want %d", w, s.Weight(w), n)
		}
	}
	if m := len(s.paths); m != len(who) || n < len(paths) {
		t.Fatalf("by watcher: %d watchers, %d paths", m, n)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	s := New[int]()
	for i := range 100 {
		path := fmt.Sprintf("/p%d", i)
		s.AddData(path, i)
		s.AddChild(path, i)
		s.AddPersistent(path, i, i%2 == 0)
		s.Drop(i)
	}
	if len(s.data)+len(s.child)+len(s.paths)+s.recursive != 0 {
		t.Errorf("left: %d data, %d child, %d watchers, %d recursive", len(s.data), len(s.child), len(s.paths), s.recursive)
	}
}

func TestOrderNodeBeforeParent(t *testing.T) {
	s := New[string]()
	s.AddChild("/", "w")
	s.AddData("/a", "w")
	s.AddChild("/a", "w")
	var got []string
	s.Change(jute.EventNodeDeleted, "/a", "/", func(_ string, e jute.EventType, path string) {
		got = append(got, fmt.Sprintf("%d %s", e, path))
	})
	if want := []string{"2 /a", "4 /"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
