package vfs

import "sync/atomic"

// pageSize is the unit in which a memory file is stored and, after a power cut, kept or lost.
const pageSize = 4096

// sectorSize is the unit within which a write is not torn, as on real disks.
const sectorSize = 512

// owners hands out marks: a page may be changed in place only by the image whose mark it carries.
var owners atomic.Uint64

// page is one page of content. It is shared between images (the cached content, the durable one, clones) until an image
// writes to it, and is then copied.
type page struct {
	owner uint64
	data  [pageSize]byte
}

// image is the content of a file: sparse pages, where nil or a missing page reads as zeros. Bytes of the last page beyond
// size are zero. The zero value is an empty file. It is not safe for concurrent use.
type image struct {
	pages []*page
	size  int64
}

// readAt copies from offset off and returns the count, which is short at the end of the file.
func (im *image) readAt(p []byte, off int64) int {
	if off >= im.size {
		return 0
	}
	p = p[:min(int64(len(p)), im.size-off)]
	done := 0
	for done < len(p) {
		i, o := int((off+int64(done))/pageSize), int((off+int64(done))%pageSize)
		n := min(pageSize-o, len(p)-done)
		if i < len(im.pages) && im.pages[i] != nil {
			copy(p[done:done+n], im.pages[i].data[o:])
		} else {
			clear(p[done : done+n])
		}
		done += n
	}
	return len(p)
}

// writeAt stores p at offset off and calls touched with the number of each page that it changed.
func (im *image) writeAt(p []byte, off int64, owner uint64, touched func(int)) {
	for done := 0; done < len(p); {
		i, o := int((off+int64(done))/pageSize), int((off+int64(done))%pageSize)
		n := copy(im.own(i, owner).data[o:], p[done:])
		touched(i)
		done += n
	}
	im.size = max(im.size, off+int64(len(p)))
}

// own returns page i for writing: a new one, or a copy of one that is shared.
func (im *image) own(i int, owner uint64) *page {
	for len(im.pages) <= i {
		im.pages = append(im.pages, nil)
	}
	old := im.pages[i]
	if old != nil && old.owner == owner {
		return old
	}
	fresh := &page{owner: owner}
	if old != nil {
		fresh.data = old.data
	}
	im.pages[i] = fresh
	return fresh
}

// truncate sets the size and returns the number of the first page that lost bytes.
func (im *image) truncate(size int64, owner uint64) int {
	keep := int((size + pageSize - 1) / pageSize)
	if size < im.size {
		if o := int(size % pageSize); o != 0 && keep <= len(im.pages) && im.pages[keep-1] != nil {
			clear(im.own(keep-1, owner).data[o:])
		}
		im.pages = im.pages[:min(keep, len(im.pages))]
	}
	im.size = size
	return max(keep-1, 0)
}

// at returns page i, nil when it is a hole.
func (im *image) at(i int) *page {
	if i < len(im.pages) {
		return im.pages[i]
	}
	return nil
}

// set puts a page, which becomes shared, in place i.
func (im *image) set(i int, p *page) {
	for len(im.pages) <= i {
		if p == nil {
			return
		}
		im.pages = append(im.pages, nil)
	}
	im.pages[i] = p
}

// share returns an image of the same content. The caller must change the owner of both.
func (im *image) share() image {
	return image{pages: append([]*page(nil), im.pages...), size: im.size}
}
