package vfs

import (
	"math/rand/v2"
	"sort"
)

// Keep says what a power cut does to changes that were not made durable.
type Keep uint8

const (
	// KeepNone loses every one of them.
	KeepNone Keep = iota
	// KeepAll keeps every one of them, as if the system had just written everything back.
	KeepAll
	// KeepRandom decides by the seed: pages are kept, lost or torn between sectors one by one, sizes land anywhere between
	// the old and the new, names change or do not. A change of a name is kept only together with the changes of the same
	// name or file that went before it.
	KeepRandom
)

// CrashOptions choose one of the states that a power cut could leave. The zero value loses everything that was not synced.
type CrashOptions struct {
	// Seed decides what KeepRandom keeps. Equal seeds give equal disks for equal histories.
	Seed uint64
	// Data is the fate of unsynced content and sizes.
	Data Keep
	// Names is the fate of unsynced creations, renames and removals.
	Names Keep
}

// CrashClone returns a disk as a power cut at this moment could leave it. The disk itself goes on unharmed, so that many
// outcomes of one moment can be examined. On the clone nothing is open or locked, and everything on it is durable.
func (m *Mem) CrashClone(o CrashOptions) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	rng := rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15))
	names := diskNames{kept: map[*memNode]map[string]*memNode{}}
	for i, keep := range keepOps(m.pending, o.Names, rng) {
		if keep {
			names.apply(m.pending[i])
		}
	}
	clone := NewMem()
	clone.root = crashNode(m.root, o, rng, names)
	return clone
}

// keepOps decides which changes of names survive.
func keepOps(ops []nameOp, k Keep, rng *rand.Rand) []bool {
	keep := make([]bool, len(ops))
	type place struct {
		dir  *memNode
		name string
	}
	nodes, places := map[*memNode]bool{}, map[place]bool{}
	for i := len(ops) - 1; i >= 0; i-- {
		op := ops[i]
		bind, unbind := place{op.bindDir, op.bind}, place{op.unbindDir, op.unbind}
		needed := nodes[op.node] || op.bindDir != nil && places[bind] || op.unbindDir != nil && places[unbind]
		keep[i] = k == KeepAll || k == KeepRandom && (needed || rng.IntN(2) == 0)
		if keep[i] {
			nodes[op.node], places[bind], places[unbind] = true, true, true
		}
	}
	return keep
}

// diskNames are durable names as a crash leaves them, copied where they differ from what the nodes say.
type diskNames struct {
	kept map[*memNode]map[string]*memNode
}

func (d diskNames) of(dir *memNode) map[string]*memNode {
	if names, ok := d.kept[dir]; ok {
		return names
	}
	return dir.diskNames
}

func (d diskNames) change(dir *memNode) map[string]*memNode {
	if names, ok := d.kept[dir]; ok {
		return names
	}
	names := make(map[string]*memNode, len(dir.diskNames))
	for name, n := range dir.diskNames {
		names[name] = n
	}
	d.kept[dir] = names
	return names
}

func (d diskNames) apply(op nameOp) {
	if op.unbindDir != nil {
		if names := d.change(op.unbindDir); names[op.unbind] == op.node {
			delete(names, op.unbind)
		}
	}
	if op.bindDir != nil {
		d.change(op.bindDir)[op.bind] = op.node
	}
}

// crashNode copies a node and everything below it.
func crashNode(n *memNode, o CrashOptions, rng *rand.Rand, names diskNames) *memNode {
	if !n.dir {
		return crashFile(n, o.Data, rng)
	}
	c := newMemDir()
	c.mtime = n.mtime
	kept := names.of(n)
	for _, name := range sortedNames(kept) {
		child := crashNode(kept[name], o, rng, names)
		c.names[name], c.diskNames[name] = child, child
	}
	return c
}

// crashFile copies a file.
func crashFile(n *memNode, k Keep, rng *rand.Rand) *memNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &memNode{owner: owners.Add(1), dirty: map[int]bool{}, cut: -1, mtime: n.mtime}
	switch k {
	case KeepAll:
		c.cur = n.cur.share()
	case KeepRandom:
		c.cur = n.tornLocked(c.owner, rng)
	default:
		c.cur = n.disk.share()
	}
	c.disk = c.cur.share()
	// Pages are shared from here on: neither side may change them in place.
	n.owner, c.owner = owners.Add(1), owners.Add(1)
	return c
}

// tornLocked mixes durable and unsynced content.
func (n *memNode) tornLocked(owner uint64, rng *rand.Rand) image {
	im := n.disk.share()
	dirty := make([]int, 0, len(n.dirty))
	for i := range n.dirty {
		dirty = append(dirty, i)
	}
	sort.Ints(dirty)
	if n.cut >= 0 && n.cut < len(im.pages) && rng.IntN(2) == 0 { // the truncation was written back
		im.pages = im.pages[:n.cut]
	}
	for _, i := range dirty {
		switch rng.IntN(4) {
		case 0: // lost
		case 1: // torn: some sectors are new, the others old
			fresh := im.own(i, owner)
			for s := 0; s < pageSize; s += sectorSize {
				if cur := n.cur.at(i); cur != nil && rng.IntN(2) == 0 {
					copy(fresh.data[s:s+sectorSize], cur.data[s:s+sectorSize])
				}
			}
		default: // kept
			im.set(i, n.cur.at(i))
		}
	}
	size := n.disk.size
	switch rng.IntN(4) {
	case 0:
	case 1:
		lo, hi := min(n.disk.size, n.cur.size), max(n.disk.size, n.cur.size)
		size = lo + rng.Int64N(hi-lo+1)
	default:
		size = n.cur.size
	}
	im.size = int64(len(im.pages)) * pageSize // so that bytes beyond the chosen size are cleared, not resurrected later
	if im.size < size {
		im.size = size
	}
	im.truncate(size, owner)
	return im
}
