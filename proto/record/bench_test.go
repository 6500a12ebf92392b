package record_test

import (
	"fmt"
	"testing"

	"github.com/ottla/ottla/proto/record"
)

// benchBatch is a batch of about 256 KiB of records with values of the given size, and the records' bytes.
func benchBatch(b *testing.B, size int, codec record.Codec) (record.Batch, int) {
	b.Helper()
	builder := record.NewBuilder(nil, 256<<10)
	for i := 0; builder.Append(1_700_000_000_000+int64(i), nil, benchValue(i, size), nil); i++ {
	}
	batch, err := builder.Finish(codec, record.DefaultLevel, 1, 0, 0, false)
	if err != nil {
		b.Fatal(err)
	}
	return batch, builder.Count()
}

// benchValue is text, different for each i, that compresses about as well as log lines do.
func benchValue(i, size int) []byte {
	var p []byte
	for n := int64(i) * 7919; len(p) < size; n += 104729 {
		p = fmt.Appendf(p, `{"ts":%d,"level":"info","user":%d,"path":"/api/v1/orders/%x","took":%d}`, 1_700_000_000_000+n, n*n%99991, n*7919, n%977)
	}
	return p[:size]
}

// perRecord adds the figures that matter: time per record and records per second.
func perRecord(b *testing.B, records int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/rec")
}

var sizes = []int{100, 1024}

func BenchmarkBuild(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			value := benchValue(1, size)
			buf := make([]byte, 0, 256<<10)
			builder := record.NewBuilder(buf, 256<<10)
			b.ReportAllocs()
			var batch record.Batch
			for b.Loop() {
				builder.Reset(nil)
				for ts := int64(1_700_000_000_000); builder.Append(ts, nil, value, nil); ts++ {
				}
				batch, _ = builder.Finish(record.None, record.DefaultLevel, 1, 0, 0, false)
			}
			b.SetBytes(int64(len(batch)))
			perRecord(b, builder.Count())
		})
	}
}

func BenchmarkIterate(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			batch, n := benchBatch(b, size, record.None)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			var it record.Iterator
			for b.Loop() {
				it.Reset(batch, nil)
				for it.Next() {
				}
			}
			perRecord(b, n)
		})
	}
}

func BenchmarkRange(b *testing.B) {
	batch, n := benchBatch(b, 100, record.None)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range batch.Records(nil) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	perRecord(b, n)
}

func BenchmarkValidate(b *testing.B) {
	v := anyBatch()
	for _, size := range sizes {
		for _, codec := range codecs {
			b.Run(fmt.Sprintf("%d/%s", size, codec), func(b *testing.B) {
				batch, n := benchBatch(b, size, codec)
				b.SetBytes(256 << 10)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := record.Validate(batch, v); err != nil {
						b.Fatal(err)
					}
				}
				perRecord(b, n)
			})
		}
	}
}

func BenchmarkCompress(b *testing.B) {
	for _, codec := range codecs[1:] {
		b.Run(codec.String(), func(b *testing.B) {
			batch, _ := benchBatch(b, 1024, record.None)
			src := batch[record.HeaderSize:]
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = record.Compress(dst[:0], src, codec, record.DefaultLevel); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(src))/float64(len(dst)), "ratio")
		})
	}
}

func BenchmarkDecompress(b *testing.B) {
	var d *record.Decompressor
	for _, codec := range codecs[1:] {
		b.Run(codec.String(), func(b *testing.B) {
			batch, _ := benchBatch(b, 1024, codec)
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				var err error
				if out, err = d.Records(nil, batch); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(out)))
		})
	}
}
