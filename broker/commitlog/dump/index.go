package dump

//lint:file-ignore ST1005 the texts are those of Kafka's tool and are printed as they are

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ottla/ottla/proto/record"
)

// Sizes of index entries. On disk: do not change (F§4.5).
//
//	.index      | relative offset i32 | position i32         |
//	.timeindex  | timestamp i64              | relative offset i32 |
const (
	offsetEntrySize = 8
	timeEntrySize   = 12
)

// entry is an entry of either index.
type entry struct {
	timestamp int64 // only in a time index
	offset    int64
	position  int64 // only in an offset index
}

// index is an index that is being read.
type index struct {
	*source
	base  int64
	width int64 // of an entry
	count int64 // entries
}

// openIndex opens an index of entries of this size.
func (d *dumper) openIndex(name string, base, width int64) (*index, error) {
	s, err := d.open(name)
	if err != nil {
		return nil, err
	}
	return &index{s, base, width, s.size / width}, nil
}

// entry reads one entry.
func (x *index) entry(i int64) (entry, error) {
	var buf [timeEntrySize]byte
	p := buf[:x.width]
	if err := x.read(p, i*x.width); err != nil {
		return entry{}, err
	}
	return x.decode(p), nil
}

// decode reads the entry at the beginning of p.
func (x *index) decode(p []byte) entry {
	if x.width == offsetEntrySize {
		return entry{offset: x.base + int64(int32(binary.BigEndian.Uint32(p))), position: int64(int32(binary.BigEndian.Uint32(p[4:])))}
	}
	return entry{timestamp: int64(binary.BigEndian.Uint64(p)), offset: x.base + int64(int32(binary.BigEndian.Uint32(p[8:])))}
}

// each calls f with every entry up to the end or to the zeros that a preallocated index ends with, in rising order of position.
func (x *index) each(ctx context.Context, f func(e entry) error) error {
	buf := make([]byte, 1024*x.width)
	for i := int64(0); i < x.count && ctx.Err() == nil; {
		p := buf[:min(int64(len(buf)), (x.count-i)*x.width)]
		if err := x.read(p, i*x.width); err != nil {
			return err
		}
		for ; len(p) > 0; p = p[x.width:] {
			e := x.decode(p)
			if e.offset == x.base && i > 0 {
				return nil
			}
			if err := f(e); err != nil {
				return err
			}
			i++
		}
	}
	return ctx.Err()
}

// blank reports whether an index is preallocated and has no entry: it begins with zeros for two of them. No index of Kafka's begins with the segment's first
// batch, but such a file looks as if.
func (x *index) blank() (bool, error) {
	if x.count < 2 {
		return false, nil
	}
	p := make([]byte, 2*x.width)
	err := x.read(p, 0)
	return bytes.Count(p, []byte{0}) == len(p), err
}

// sanity checks what a broker checks when it starts; Kafka's words.
func (x *index) sanity() error {
	file := absolute(x.name)
	if x.count > 0 {
		first, err := x.entry(0)
		if err != nil {
			return err
		}
		last, err := x.entry(x.count - 1)
		if err != nil {
			return err
		}
		switch {
		case x.width == offsetEntrySize && last.offset < x.base:
			return fmt.Errorf("Corrupt index found, index file (%s) has non-zero size but the last offset is %d which is less than the base offset %d", file, last.offset, x.base) //nolint:staticcheck,revive // Kafka's words
		case last.timestamp < first.timestamp:
			return fmt.Errorf("Corrupt time index found, time index file (%s) has non-zero size but the last timestamp is %d which is less than the first timestamp %d", file, last.timestamp, first.timestamp) //nolint:staticcheck,revive // Kafka's words
		case last.offset < x.base:
			return fmt.Errorf("Corrupt time index found, time index file (%s) has non-zero size but the last offset is %d which is less than the first offset %d", file, last.offset, x.base) //nolint:staticcheck,revive // Kafka's words
		}
	}
	if x.size%x.width != 0 {
		kind := "Index file"
		if x.width == timeEntrySize {
			kind = "Time index file"
		}
		return fmt.Errorf("%s %s is corrupt, found %d bytes which is neither positive nor a multiple of %d", kind, file, x.size, x.width)
	}
	return nil
}

// offsetIndex dumps an .index file and checks it against the segment.
func (d *dumper) offsetIndex(ctx context.Context, name string) error {
	base, err := baseOffset(name)
	if err != nil {
		return err
	}
	log, err := d.open(sibling(name, segmentSuffix))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	x, err := d.openIndex(name, base, offsetEntrySize)
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }()
	if x.count == 0 {
		d.printf("%s is empty.\n", javaPath(name))
		return nil
	}
	if d.IndexSanityCheck {
		return d.sanityOnly(x)
	}
	blank, err := x.blank()
	if err != nil {
		return err
	}
	var buf [record.HeaderSize]byte
	return x.each(ctx, func(e entry) error {
		if e.position < 0 || e.position > log.size {
			return fmt.Errorf("%s: the entry for offset %d points to %d, in a segment of %d bytes", absolute(name), e.offset, e.position, log.size)
		}
		h, ok, err := log.next(e.position, min(log.size, e.position+int64(d.MaxMessageSize)), &buf)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s: the entry for offset %d points to %d, where no batch of up to %d bytes is", absolute(name), e.offset, e.position, d.MaxMessageSize)
		}
		if last := h.lastOffset(); last != e.offset && !blank {
			d.mismatches.add(absolute(name), e.offset, last)
		}
		if !d.VerifyIndexOnly {
			d.printf("offset: %d position: %d\n", e.offset, e.position)
		}
		return nil
	})
}

// sanityOnly prints whether an index would be built again.
func (d *dumper) sanityOnly(x *index) error {
	if err := x.sanity(); err != nil {
		return err
	}
	d.printf("%s passed sanity check.\n", javaPath(x.name))
	return nil
}

// lastOffset is the last offset of a batch of any version.
func (h *head) lastOffset() int64 {
	if h.legacy != nil {
		return int64(binary.BigEndian.Uint64(h.legacy))
	}
	return h.LastOffset()
}

// timeIndex dumps a .timeindex file and checks it against the segment, which it finds its way in by the offset index.
func (d *dumper) timeIndex(ctx context.Context, name string) error {
	base, err := baseOffset(name)
	if err != nil {
		return err
	}
	log, err := d.open(sibling(name, segmentSuffix))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	offsets, err := d.openIndex(sibling(name, indexSuffix), base, offsetEntrySize)
	if err != nil {
		return err
	}
	defer func() { _ = offsets.Close() }()
	x, err := d.openIndex(name, base, timeEntrySize)
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }()
	if d.IndexSanityCheck {
		return d.sanityOnly(x)
	}
	blank, err := x.blank()
	if err != nil {
		return err
	}
	file, before := absolute(name), int64(record.NoTimestamp)
	return x.each(ctx, func(e entry) error {
		h, ok, err := d.find(ctx, log, offsets, e.offset)
		switch {
		case err != nil:
			return err
		case blank:
		case !ok:
			d.missing.add(file, e.offset, -1)
		case h.lastOffset() != e.offset:
			d.missing.add(file, e.offset, h.lastOffset())
		default:
			latest, err := d.latest(log, &h)
			if err != nil {
				return err
			}
			if latest != e.timestamp {
				d.timestamps.add(file, e.timestamp, latest)
			}
			if before >= e.timestamp {
				d.disorder.add(file, e.timestamp, before)
			}
		}
		if !d.VerifyIndexOnly {
			d.printf("timestamp: %d offset: %d\n", e.timestamp, e.offset)
		}
		before = e.timestamp
		return nil
	})
}

// find returns the first batch that ends at an offset or after it.
func (d *dumper) find(ctx context.Context, log *source, offsets *index, offset int64) (head, bool, error) {
	at, err := offsets.lookup(offset)
	if err != nil || at < 0 || at > log.size {
		return head{}, false, err
	}
	var buf [record.HeaderSize]byte
	for ctx.Err() == nil {
		h, ok, err := log.next(at, log.size, &buf)
		if err != nil || !ok || h.lastOffset() >= offset {
			return h, ok, err
		}
		at += h.size
	}
	return head{}, false, ctx.Err()
}

// lookup returns the position of the entry with the greatest offset that is not above offset; 0 when there is none.
func (x *index) lookup(offset int64) (int64, error) {
	lo, hi := int64(-1), x.count // the answer is lo once hi is next to it
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		e, err := x.entry(mid)
		if err != nil {
			return 0, err
		}
		if e.offset > offset || e.offset == x.base && mid > 0 { // the zeros at the end of a preallocated index
			hi = mid
		} else {
			lo = mid
		}
	}
	if lo < 0 {
		return 0, nil
	}
	e, err := x.entry(lo)
	return e.position, err
}

// latest is the largest timestamp of a batch's records.
func (d *dumper) latest(log *source, h *head) (int64, error) {
	b, err := d.load(log, h)
	if err != nil {
		return 0, err
	}
	latest := int64(math.MinInt64)
	var it record.Iterator
	it.Reset(b, d.dec)
	for it.Next() {
		latest = max(latest, it.Record().Timestamp)
	}
	if err := it.Err(); err != nil {
		return 0, fmt.Errorf("%s: records of the batch at %d: %w", absolute(log.name), h.at, err)
	}
	return max(latest, record.NoTimestamp), nil
}
