// Package dump prints what is in the files of a partition's log, for people who look for the cause of trouble: segments with their batches and records, and
// checks of indexes against them. The text is that of Kafka 3.9's DumpLogSegments (F§7.10).
//
// It only reads. It reads files of any size in bounded memory: headers one by one, checksums in pieces, and whole batches only where their records are asked
// for. What is damaged or made up is reported, never trusted; a file that cannot be dumped does not keep the others from being dumped.
package dump

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/record"
)

// Defaults of the options of the same names.
const (
	// DefaultMaxMessageSize is the size of the largest batch that an index is believed to point at, in bytes.
	DefaultMaxMessageSize = 5 << 20
	// DefaultMaxBytes stands for all of a segment.
	DefaultMaxBytes = math.MaxInt32
)

// Suffixes of the files that can be dumped.
const (
	segmentSuffix   = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"
)

// Options say what to print.
type Options struct {
	// FS is where the files are; nil means the system's.
	FS vfs.FS
	// Out takes what is found, Err what is wrong.
	Out, Err io.Writer
	// Deep shows the records of batches, not only the batches.
	Deep bool
	// Contents shows keys and values of records; it implies Deep.
	Contents bool
	// Decoder makes text of keys and values; nil means Strings for both.
	Decoder Decoder
	// Notes are printed before each segment.
	Notes []string
	// SkipMetadata leaves everything but keys and values of records out.
	SkipMetadata bool
	// VerifyIndexOnly checks indexes without printing their entries.
	VerifyIndexOnly bool
	// IndexSanityCheck only checks what a broker checks of an index when it starts.
	IndexSanityCheck bool
	// MaxMessageSize is the largest batch that an index may point at, in bytes; 0 means DefaultMaxMessageSize.
	MaxMessageSize int
	// MaxBytes bounds how much of a segment is read; 0 means DefaultMaxBytes.
	MaxBytes int
}

// dumper is a run.
type dumper struct {
	Options
	out    *bufio.Writer
	failed bool
	dec    *record.Decompressor
	buf    []byte // of the batch at hand

	mismatches   findings // of offset indexes
	timestamps   findings // of time indexes: other than in the log
	disorder     findings // of time indexes: not rising
	missing      findings // of time indexes: offsets that are not in the log
	discontinued findings // of segments: offsets that do not follow each other
}

// Files dumps files, one after another, and then reports what does not fit together. It returns whether every file could be read to its end; damage within
// a file that Kafka's tool reports and survives does not count. It stops early when ctx ends.
func Files(ctx context.Context, o Options, names []string) (ok bool) {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Decoder == nil {
		o.Decoder = KeyValue(Strings, Strings)
	}
	if o.MaxMessageSize <= 0 {
		o.MaxMessageSize = DefaultMaxMessageSize
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	o.Deep = o.Deep || o.Contents
	d := &dumper{Options: o, out: bufio.NewWriterSize(o.Out, 64<<10), dec: record.NewDecompressor(record.Limits{MaxDecompressed: maxDecompressed})}
	for _, name := range names {
		if err := d.file(ctx, name); err != nil {
			d.complain("%v", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	d.report()
	if err := d.out.Flush(); err != nil {
		d.failed = true
	}
	return !d.failed
}

// printf prints what was found.
func (d *dumper) printf(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

// warn says what is strange, behind what was found before it.
func (d *dumper) warn(format string, args ...any) {
	_ = d.out.Flush() // an error stays and comes up at the end
	_, _ = fmt.Fprintf(d.Err, format+"\n", args...)
}

// complain says what went wrong.
func (d *dumper) complain(format string, args ...any) {
	d.failed = true
	d.warn(format, args...)
}

// file dumps a file by its kind.
func (d *dumper) file(ctx context.Context, name string) error {
	d.printf("Dumping %s\n", javaPath(name))
	switch filepath.Ext(name) {
	case segmentSuffix:
		return d.segment(ctx, name)
	case indexSuffix:
		return d.offsetIndex(ctx, name)
	case timeIndexSuffix:
		return d.timeIndex(ctx, name)
	case snapshotSuffix:
		return d.snapshot(name)
	case txnIndexSuffix:
		return d.txnIndex(name)
	default:
		d.warn("Ignoring unknown file %s", javaPath(name))
		return nil
	}
}

// javaPath is a path as Java prints it: without slashes that mean nothing.
func javaPath(name string) string {
	for strings.Contains(name, "//") {
		name = strings.ReplaceAll(name, "//", "/")
	}
	if len(name) > 1 {
		name = strings.TrimSuffix(name, "/")
	}
	return name
}

// absolute is the path that reports name a file by.
func absolute(name string) string {
	if filepath.IsAbs(name) {
		return javaPath(name)
	}
	abs, err := filepath.Abs(".")
	if err != nil {
		return javaPath(name)
	}
	return javaPath(abs + "/" + name)
}

// baseOffset reads the offset that a file is named after.
func baseOffset(name string) (int64, error) {
	digits, _, _ := strings.Cut(filepath.Base(name), ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not named after an offset: %q is no number", name, digits)
	}
	return n, nil
}

// sibling is the name of another file of the same segment.
func sibling(name, suffix string) string {
	digits, _, _ := strings.Cut(filepath.Base(name), ".")
	return filepath.Join(filepath.Dir(name), digits+suffix)
}

// source is a file that is being read.
type source struct {
	vfs.File
	name string
	size int64
}

// open opens a file for reading.
func (d *dumper) open(name string) (*source, error) {
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	return &source{f, name, size}, nil
}

// read fills p from a position.
func (s *source) read(p []byte, at int64) error {
	if n, err := s.ReadAt(p, at); n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes at %d of %s: %w", len(p), at, s.name, err)
	}
	return nil
}
