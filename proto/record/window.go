package record

import (
	"io"

	"github.com/ottla/ottla/proto/kerr"
)

// window shows the records of a batch to a checker: all of them at once when they are not compressed, and otherwise as
// much as fits its buffer, while they are being decompressed.
type window struct {
	buf     []byte // its capacity never changes
	pos     int    // of the next byte to look at
	dropped int64  // bytes that were in front of buf
	eof     bool   // nothing comes after buf
	src     io.Reader
	limit   int64 // most bytes that src may give
	err     error // of src, or ErrTooLarge; with eof
}

// record returns the next record without its length, and moves on. ok is false, and nothing moves, when the record does not
// fit the buffer, is not there, or has an impossible length: see [checker.pieces].
func (w *window) record() (body []byte, ok bool) {
	for {
		size, i := varint(w.buf, w.pos)
		if i >= 0 && size >= 0 && int(size) <= len(w.buf)-i {
			w.pos = i + int(size)
			return w.buf[i:w.pos], true
		}
		if w.eof || w.pos == 0 && len(w.buf) == cap(w.buf) {
			return nil, false
		}
		w.fill()
	}
}

// fill drops what has been looked at and reads until the buffer is full or the source ends.
func (w *window) fill() {
	if w.eof {
		return
	}
	n := copy(w.buf, w.buf[w.pos:])
	w.dropped += int64(w.pos)
	w.pos = 0
	w.buf = w.buf[:n]
	for idle := 0; len(w.buf) < cap(w.buf) && !w.eof; {
		n, err := w.src.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+n]
		if n == 0 {
			idle++
		}
		switch {
		case w.total() > w.limit:
			err = ErrTooLarge
		case err == nil && idle > maxEmptyReads:
			err = io.ErrNoProgress
		}
		if err != nil {
			w.eof = true
			if err != io.EOF {
				w.err = err
			}
		}
	}
}

// maxEmptyReads is how often a decompressor may return nothing without an error.
const maxEmptyReads = 100

// total is how many bytes there were so far.
func (w *window) total() int64 { return w.dropped + int64(len(w.buf)) }

// peek returns the next n bytes, fewer where the source ends. n is at most the buffer's size.
func (w *window) peek(n int64) []byte {
	if int64(len(w.buf)-w.pos) < n {
		w.fill()
	}
	return w.buf[w.pos : w.pos+int(min(n, int64(len(w.buf)-w.pos)))]
}

// skip moves n bytes on and reports whether there were as many.
func (w *window) skip(n int64) bool {
	for {
		have := int64(len(w.buf) - w.pos)
		if n <= have {
			w.pos += int(n)
			return true
		}
		n -= have
		w.pos = len(w.buf)
		if w.eof {
			return false
		}
		w.fill()
	}
}

// rest reports whether any bytes are left, and the error that the source ended with.
func (w *window) rest() (bool, error) {
	more := len(w.peek(1)) != 0
	return more, w.err
}

// piecewise reads the fields of one record that is larger than the window.
type piecewise struct {
	w    *window
	left int64 // bytes of the record still to come
	why  int   // truncated or overlong, once something was wrong
}

// pieces checks the next record without ever having it as a whole. It is also what finds out why [window.record] had none.
func (c *checker) pieces(w *window) *kerr.Error {
	r := piecewise{w: w, left: maxVarintLen}
	size := r.varint()
	if r.why != 0 || size < 0 {
		return c.broken(w, "length", r.why)
	}
	r.left = int64(size)
	if !r.skip(1) {
		return c.broken(w, "attributes", r.why)
	}
	timestampDelta := r.varlong()
	if r.why != 0 {
		return c.broken(w, "timestamp delta", r.why)
	}
	offsetDelta := r.varint()
	if r.why != 0 {
		return c.broken(w, "offset delta", r.why)
	}
	if offsetDelta != c.next {
		return c.badOffset(offsetDelta)
	}
	keySize := r.varint()
	if r.why != 0 || keySize < -1 || !r.skip(keySize) {
		return c.broken(w, "key", r.why)
	}
	valueSize := r.varint()
	if r.why != 0 || valueSize < -1 || !r.skip(valueSize) {
		return c.broken(w, "value", r.why)
	}
	count := r.varint()
	if r.why != 0 || count < 0 || int64(count) > r.left/2 {
		return c.broken(w, "header count", r.why)
	}
	for range count {
		if size := r.varint(); r.why != 0 || size < 0 || !r.skip(size) {
			return c.broken(w, "header key", r.why)
		}
		if size := r.varint(); r.why != 0 || size < -1 || !r.skip(size) {
			return c.broken(w, "header value", r.why)
		}
	}
	if r.left != 0 {
		return c.broken(w, "end", truncated)
	}
	c.fields(timestampDelta, keySize < 0)
	return nil
}

// broken is malformed, unless the decompressor is to blame.
func (c *checker) broken(w *window, part string, why int) *kerr.Error {
	if w.err != nil {
		return c.unreadable(w.err)
	}
	return c.malformed(part, why)
}

func (r *piecewise) varint() int32 {
	v, n := varint(r.w.peek(min(maxVarintLen, r.left)), 0)
	return int32(r.took(int64(v), n))
}

func (r *piecewise) varlong() int64 {
	v, n := varlong(r.w.peek(min(maxVarlongLen, r.left)), 0)
	return r.took(v, n)
}

// took consumes a number of n bytes, or notes what was wrong with it.
func (r *piecewise) took(v int64, n int) int64 {
	if n < 0 {
		r.why = n
		return 0
	}
	r.skip(int32(n))
	return v
}

// skip moves over n bytes of the record and reports whether it has as many. A length of -1 is nothing to skip.
func (r *piecewise) skip(n int32) bool {
	size := max(int64(n), 0)
	if size > r.left || !r.w.skip(size) {
		r.why = truncated
		return false
	}
	r.left -= size
	return true
}
