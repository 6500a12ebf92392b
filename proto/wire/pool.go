package wire

import (
	"slices"
	"sync"
)

// Pool is where slabs and gRPC's own buffers come from, in tiers that fit frames, produce requests, and fetch answers of consumers and followers; what is
// larger than the largest tier is left to the garbage collector. It is safe for concurrent use. Unlike gRPC's own pools it does not clear
// buffers before it lends them: whoever borrows one fills it before anybody reads it.
var Pool = newPool(256, 4<<10, 16<<10, 32<<10+64, 64<<10, 256<<10, 512<<10, 1<<20+64<<10, 2<<20+64<<10, 4<<20+64<<10, 8<<20+64<<10, 12<<20)

// pool implements mem.BufferPool.
type pool struct {
	sizes []int // ascending
	tiers []sync.Pool
}

func newPool(sizes ...int) *pool { return &pool{sizes, make([]sync.Pool, len(sizes))} }

// Get lends a buffer of this length, with whatever is in it.
func (p *pool) Get(length int) *[]byte {
	i, _ := slices.BinarySearch(p.sizes, length)
	if i == len(p.sizes) {
		b := make([]byte, length)
		return &b
	}
	b, ok := p.tiers[i].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, p.sizes[i])
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put takes a buffer back. One that is not as large as a tier any more is left to the garbage collector.
func (p *pool) Put(b *[]byte) {
	if i, ok := slices.BinarySearch(p.sizes, cap(*b)); ok {
		*b = (*b)[:cap(*b)]
		p.tiers[i].Put(b)
	}
}
