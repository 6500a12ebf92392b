package record

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compress appends src, compressed by codec at level, to dst and returns the extended slice. src is a batch's records.
// [DefaultLevel] is always a level, see [Codec.CheckLevel] for the others; gzip and zstd follow their own numbers, and
// lz4's levels other than 9 (the default: fast) are its slower high compression. The error is an unknown codec or level;
// dst is returned as it was then.
//
// Compressors come from pools that the whole process shares. Compress may be called by many goroutines at once.
func Compress(dst, src []byte, codec Codec, level int) ([]byte, error) {
	if err := codec.CheckLevel(level); err != nil {
		return dst, fmt.Errorf("compress %d bytes: %w", len(src), err)
	}
	if level == DefaultLevel {
		level = codecs[codec].defaultLevel
	}
	out := dst
	var err error
	switch codec {
	case None:
		return append(dst, src...), nil
	case Snappy:
		return compressSnappy(dst, src), nil
	case Gzip:
		out, err = compressGzip(dst, src, level)
	case LZ4:
		out, err = compressLZ4(dst, src, level)
	case Zstd:
		out, err = compressZstd(dst, src, level)
	}
	if err != nil {
		return dst, fmt.Errorf("compress %d bytes with %s: %w", len(src), codec, err)
	}
	return out, nil
}

// appender is an io.Writer to the end of a slice.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

// stream appends to dst what w makes of src. It does not keep dst.
func (a *appender) stream(w interface {
	io.WriteCloser
	Reset(io.Writer)
}, dst, src []byte) ([]byte, error) {
	a.buf = dst
	w.Reset(a)
	_, err := w.Write(src)
	if err == nil {
		err = w.Close()
	}
	out := a.buf
	a.buf = nil
	return out, err
}

// grow returns p with room for n bytes after its end.
func grow(p []byte, n int) []byte { return slices.Grow(p, n) }

// gzipCompressor and the other compressors live in pools, one pool per level.
type gzipCompressor struct {
	w   *gzip.Writer
	dst appender
}

// gzipPools is by level from -1.
var gzipPools [11]sync.Pool

func compressGzip(dst, src []byte, level int) ([]byte, error) {
	pool := &gzipPools[level+1]
	c, ok := pool.Get().(*gzipCompressor)
	if !ok {
		w, err := gzip.NewWriterLevel(nil, level)
		if err != nil {
			return nil, err
		}
		c = &gzipCompressor{w: w}
	}
	out, err := c.dst.stream(c.w, dst, src)
	pool.Put(c)
	return out, err
}

type lz4Compressor struct {
	w   *lz4.Writer
	dst appender
}

// lz4Levels are the library's levels by Kafka's number; what lies above is as the last.
var lz4Levels = [...]lz4.CompressionLevel{1: lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6, lz4.Level7, lz4.Level8, lz4.Fast, lz4.Level9}

var lz4Pools [len(lz4Levels)]sync.Pool

func compressLZ4(dst, src []byte, level int) ([]byte, error) {
	level = min(level, len(lz4Levels)-1)
	pool := &lz4Pools[level]
	c, ok := pool.Get().(*lz4Compressor)
	if !ok {
		c = new(lz4Compressor)
		c.w = lz4.NewWriter(&c.dst)
		// The batch has a checksum, so the frame needs none. Blocks of 64 KiB are what Kafka writes.
		if err := c.w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.CompressionLevelOption(lz4Levels[level])); err != nil {
			return nil, err
		}
	}
	out, err := c.dst.stream(c.w, dst, src)
	pool.Put(c)
	return out, err
}

// zstdPools is by the library's level.
var zstdPools [zstd.SpeedBestCompression + 1]sync.Pool

func compressZstd(dst, src []byte, level int) ([]byte, error) {
	speed := zstd.EncoderLevelFromZstd(level)
	pool := &zstdPools[speed]
	w, ok := pool.Get().(*zstd.Encoder)
	if !ok {
		var err error
		// One goroutine: the caller's. The batch has a checksum. No level's window is beyond what this package reads.
		w, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
		if err != nil {
			return nil, err
		}
	}
	out := w.EncodeAll(src, dst)
	pool.Put(w)
	return out, nil
}
