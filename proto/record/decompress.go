package record

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/pierrec/lz4/v4"
)

// DefaultMaxDecompressed is what a batch's records may decompress to, in bytes, unless [Limits] say something else.
const DefaultMaxDecompressed = 64 << 20

// maxZstdWindow is how far back a zstd frame may refer, and thereby the memory that it can demand.
const maxZstdWindow = 8 << 20

// ErrTooLarge says that a batch's records are larger than [Limits] allow once they are decompressed.
var ErrTooLarge = errors.New("decompressed records exceed the limit")

// Limits bound what decompressing one batch may cost. The zero value stands for the defaults. Whatever the limits, zstd
// frames with windows beyond 8 MiB are refused.
type Limits struct {
	// MaxDecompressed is the largest size of the records in bytes, after decompression; 0 means [DefaultMaxDecompressed].
	MaxDecompressed int64
}

func (l Limits) maxDecompressed() int64 {
	if l.MaxDecompressed <= 0 {
		return DefaultMaxDecompressed
	}
	return l.MaxDecompressed
}

// Decompressor decompresses batches within limits. Its buffers and codecs come from pools that the whole process shares.
// It never changes and is safe for concurrent use; nil stands for one with the default limits.
type Decompressor struct {
	limits Limits
}

// NewDecompressor returns a decompressor with the given limits.
func NewDecompressor(limits Limits) *Decompressor { return &Decompressor{limits: limits} }

// defaultDecompressor has the default limits.
var defaultDecompressor = NewDecompressor(Limits{})

func (d *Decompressor) orDefault() *Decompressor {
	if d == nil {
		return defaultDecompressor
	}
	return d
}

// Records appends b's records, decompressed, to dst and returns the extended slice. With a nil dst the result is newly
// allocated and exactly as large as it has to be, unless that is more than 1 MiB and the codec does not say how much comes
// (gzip, lz4). The error is a [*CorruptError], which wraps [ErrTooLarge] when the
// records are beyond the limit; what is returned then is dst as it was.
//
// While it works it may hold up to one and a half times the limit, besides a codec's own window (at most 8 MiB). It
// allocates as data arrives and believes no size that a peer states.
func (d *Decompressor) Records(dst []byte, b Batch) ([]byte, error) {
	d = d.orDefault()
	src := b[HeaderSize:]
	codec := b.Codec()
	if codec == None {
		if int64(len(src)) > d.limits.maxDecompressed() {
			return dst, decompressError(codec, ErrTooLarge)
		}
		return append(dst, src...), nil
	}
	in, err := openInflater(codec, src, d.limits.maxDecompressed(), false)
	if err != nil {
		return dst, decompressError(codec, err)
	}
	defer in.release()
	var out []byte
	if dst == nil {
		out, err = in.collect(d.limits.maxDecompressed())
	} else {
		out, err = in.appendTo(dst, d.limits.maxDecompressed())
	}
	if err != nil {
		return dst, decompressError(codec, err)
	}
	return out, nil
}

// decompressError makes an error of a codec into one of this package.
func decompressError(codec Codec, err error) *CorruptError {
	if e, ok := errors.AsType[*CorruptError](err); ok {
		return e
	}
	return &CorruptError{Code: kerr.InvalidRecord, Reason: "decompress " + codec.String(), Cause: err}
}

// decoder is a codec at work on one run of compressed bytes.
type decoder interface {
	io.Reader
	// open starts on src. The decoder is in any state before. What would give more than limit bytes may fail early.
	// Strict demands what every reader of the format understands, not only this one.
	open(src []byte, limit int64, strict bool) error
	// size is how many bytes will come out, if src says so and it is plausible; 0 otherwise.
	size() int
	// close drops all references to src.
	close()
}

// inflater is a decoder with a buffer, from a pool.
type inflater struct {
	decoder
	codec Codec
	buf   []byte // windowSize bytes or more
	probe [probeSize]byte
}

// probeSize is how much is asked for when there is no room and, most likely, nothing to come.
const probeSize = 64

// windowSize is how much of a compressed batch a checker sees at a time.
const windowSize = 64 << 10

// maxPooled is the size of the largest buffer that a pool keeps.
const maxPooled = 1 << 20

// inflaters holds idle inflaters by codec.
var inflaters [len(codecs)]sync.Pool

// newDecoder makes a decoder for each codec.
var newDecoder = [len(codecs)]func() (decoder, error){
	Gzip:   func() (decoder, error) { return new(gzipDecoder), nil },
	Snappy: func() (decoder, error) { return new(snappyDecoder), nil },
	LZ4:    func() (decoder, error) { return new(lz4Decoder), nil },
	Zstd:   newZstdDecoder,
}

// openInflater takes an inflater from the pool and starts it on src, see [decoder]. After use it must be released.
func openInflater(codec Codec, src []byte, limit int64, strict bool) (*inflater, error) {
	if !codec.Valid() || codec == None {
		return nil, corrupt(kerr.UnsupportedCompressionType, "the compression codec %d does not exist", int8(codec))
	}
	in, ok := inflaters[codec].Get().(*inflater)
	if !ok {
		d, err := newDecoder[codec]()
		if err != nil {
			return nil, err
		}
		in = &inflater{decoder: d, codec: codec, buf: make([]byte, windowSize)}
	}
	if err := in.open(src, limit, strict); err != nil {
		in.release()
		return nil, err
	}
	return in, nil
}

func (in *inflater) release() {
	in.close()
	if cap(in.buf) <= maxPooled {
		inflaters[in.codec].Put(in)
	}
}

// runCompressed checks compressed records.
func (c *checker) runCompressed(codec Codec, src []byte, limits Limits) *kerr.Error {
	in, err := openInflater(codec, src, limits.maxDecompressed(), true)
	if err != nil {
		return c.unreadable(err)
	}
	defer in.release()
	w := window{buf: in.buf[:0:windowSize], src: in, limit: limits.maxDecompressed()}
	return c.run(&w)
}

// collect returns everything in a new slice of about the right size.
func (in *inflater) collect(limit int64) ([]byte, error) {
	if size := in.size(); size > 0 {
		return in.appendTo(make([]byte, 0, size), limit)
	}
	// The size is unknown: decompress into the pooled buffer, which grows to what batches usually need, and copy.
	out, err := in.appendTo(in.buf[:0], limit)
	if err != nil {
		return nil, err
	}
	if cap(out) > maxPooled {
		return out, nil
	}
	in.buf = out[:cap(out)]
	return bytes.Clone(out), nil
}

// appendTo appends everything to dst.
func (in *inflater) appendTo(dst []byte, limit int64) ([]byte, error) {
	base := len(dst)
	for idle := 0; ; {
		into := dst[len(dst):cap(dst)]
		full := len(into) == 0
		if full {
			into = in.probe[:] // whether there is more at all: the size may have been known
		}
		n, err := in.Read(into)
		switch {
		case !full:
			dst = dst[:len(dst)+n]
		case n > 0:
			dst = append(enlarge(dst, limit-int64(len(dst)-base)), in.probe[:n]...)
		}
		if n == 0 {
			idle++
		}
		switch {
		case int64(len(dst)-base) > limit:
			return nil, ErrTooLarge
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return nil, err
		case idle > maxEmptyReads:
			return nil, io.ErrNoProgress
		}
	}
}

// enlarge doubles dst, but by no more than what may still come and what a probe may have found beyond that.
func enlarge(dst []byte, left int64) []byte {
	grown := make([]byte, len(dst), len(dst)+int(min(int64(max(cap(dst), 512)), left+probeSize)))
	copy(grown, dst)
	return grown
}

// gzipDecoder reads RFC 1952, also several members one after another, as Java's GZIPInputStream does.
type gzipDecoder struct {
	src bytes.Reader
	r   gzip.Reader
}

func (d *gzipDecoder) open(src []byte, _ int64, _ bool) error {
	d.src.Reset(src)
	return d.r.Reset(&d.src)
}

func (d *gzipDecoder) Read(p []byte) (int, error) { return d.r.Read(p) }

func (d *gzipDecoder) size() int { return 0 }

func (d *gzipDecoder) close() { d.src.Reset(nil) }

// lz4Decoder reads exactly one LZ4 frame, of the kind that Kafka's clients accept.
type lz4Decoder struct {
	src bytes.Reader
	r   *lz4.Reader
}

func (d *lz4Decoder) open(src []byte, _ int64, _ bool) error {
	if err := checkLZ4Frame(src); err != nil {
		return err
	}
	d.src.Reset(src)
	if d.r == nil {
		d.r = lz4.NewReader(&d.src)
	} else {
		d.r.Reset(&d.src)
	}
	return nil
}

func (d *lz4Decoder) Read(p []byte) (int, error) { return d.r.Read(p) }

func (d *lz4Decoder) size() int { return 0 }

func (d *lz4Decoder) close() {
	d.src.Reset(nil)
	if d.r != nil {
		d.r.Reset(&d.src)
	}
}

// zstdDecoder reads RFC 8878.
type zstdDecoder struct {
	src bytes.Reader
	r   *zstd.Decoder
	fcs int
}

func newZstdDecoder() (decoder, error) {
	// One goroutine: the caller's. Such a decoder need not be closed.
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return nil, err
	}
	return &zstdDecoder{r: r}, nil
}

func (d *zstdDecoder) open(src []byte, limit int64, _ bool) error {
	d.fcs = 0
	var h zstd.Header
	if h.Decode(src) == nil && h.HasFCS && h.FrameContentSize <= uint64(limit) && h.FrameContentSize <= uint64(len(src))*plausibleRatio {
		d.fcs = int(h.FrameContentSize)
	}
	d.src.Reset(src)
	return d.r.Reset(&d.src)
}

// plausibleRatio is up to where a stated size is believed enough to allocate it.
const plausibleRatio = 64

func (d *zstdDecoder) Read(p []byte) (int, error) { return d.r.Read(p) }

func (d *zstdDecoder) size() int { return d.fcs }

func (d *zstdDecoder) close() {
	d.src.Reset(nil)
	// Resetting to nil cannot fail: it only lets go of the source.
	_ = d.r.Reset(nil)
}
