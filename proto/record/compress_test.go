package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
	"github.com/pierrec/lz4/v4"
	"go.uber.org/goleak"
)

// noise is bytes that do not compress.
func noise(n int) []byte {
	p := make([]byte, n)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(p)
	return p
}

// contents are what compressors find easy, hard, and awkward.
func contents() map[string][]byte {
	return map[string][]byte{
		"nothing":        {},
		"one byte":       {1},
		"two MiB":        bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16),
		"zeros":          make([]byte, 300_000),
		"noise":          noise(150_000),
		"a xerial block": bytes.Repeat([]byte("0123456789abcdef"), 2048),
		"text":           bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog. "), 4000),
		"mixed":          append(noise(70_000), bytes.Repeat([]byte("abc"), 70_000)...),
	}
}

// levels to try of each codec.
var levels = map[record.Codec][]int{
	record.None:   {0},
	record.Gzip:   {0, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9},
	record.Snappy: {0},
	record.LZ4:    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17},
	record.Zstd:   {0, -131072, -1, 1, 3, 6, 10, 22},
}

// regionOf is a batch whose records, decompressed or not, are p as it is.
func regionOf(t testing.TB, codec record.Codec, p []byte) record.Batch {
	t.Helper()
	b := append(bytes.Clone(goldenBatch(t)[:record.HeaderSize]), p...)
	binary.BigEndian.PutUint16(b[21:], uint16(codec))
	return seal(b)
}

func TestWhatIsCompressedIsDecompressed(t *testing.T) {
	var d *record.Decompressor
	for name, want := range contents() {
		for codec, levels := range levels {
			for _, level := range levels {
				packed, err := record.Compress([]byte("before"), want, codec, level)
				if err != nil || string(packed[:6]) != "before" {
					t.Fatalf("%s, %s level %d: %v", name, codec, level, err)
				}
				packed = packed[6:]
				got, err := d.Records(nil, regionOf(t, codec, packed))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, %s level %d: %d bytes instead of %d, %v", name, codec, level, len(got), len(want), err)
				}
				// What is beyond 1 MiB may be in a larger buffer, sizes are rounded up by the allocator.
				if waste := cap(got) - len(got); waste > len(got)/8+1024 && len(got) < 1<<20 {
					t.Errorf("%s, %s level %d: a buffer of %d bytes for %d", name, codec, level, cap(got), len(got))
				}
				got, err = d.Records([]byte("before"), regionOf(t, codec, packed))
				if err != nil || string(got[:6]) != "before" || !bytes.Equal(got[6:], want) {
					t.Fatalf("%s, %s level %d, appended: %d bytes, %v", name, codec, level, len(got), err)
				}
			}
		}
	}
}

func TestCompressRefusesUnknownCodecsAndLevels(t *testing.T) {
	for codec, bad := range map[record.Codec][]int{record.None: {1}, record.Gzip: {-2, 10}, record.Snappy: {1, -1}, record.LZ4: {-1, 18}, record.Zstd: {23, -131073}, 5: {0}, -1: {0}} {
		for _, level := range bad {
			if out, err := record.Compress([]byte("x"), []byte("y"), codec, level); err == nil || string(out) != "x" {
				t.Errorf("%s level %d: %q, %v", codec, level, out, err)
			}
		}
		for _, level := range levels[codec] {
			if err := codec.CheckLevel(level); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCodecNames(t *testing.T) {
	for codec, name := range map[record.Codec]string{record.None: "none", record.Gzip: "gzip", record.Snappy: "snappy", record.LZ4: "lz4", record.Zstd: "zstd"} {
		got, err := record.ParseCodec(strings.ToUpper(name))
		if err != nil || got != codec || codec.String() != name || !codec.Valid() {
			t.Errorf("%s: parsed %v, %v; printed %s", name, got, err, codec)
		}
	}
	if got, err := record.ParseCodec("uncompressed"); err != nil || got != record.None {
		t.Errorf("uncompressed: %v, %v", got, err)
	}
	for _, name := range []string{"", "producer", "zip", "s2"} {
		if got, err := record.ParseCodec(name); err == nil {
			t.Errorf("%q was parsed as %s", name, got)
		}
	}
	if c := record.Codec(5); c.Valid() || c.String() != "codec 5" {
		t.Errorf("codec 5: %t, %s", c.Valid(), c)
	}
}

// TestSnappyIsFramedAsJavaDoes checks the framing byte by byte: consumers in Java read nothing else.
func TestSnappyIsFramedAsJavaDoes(t *testing.T) {
	want := contents()["mixed"]
	p, err := record.Compress(nil, want, record.Snappy, record.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	if got := p[:16]; string(got) != "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01" {
		t.Errorf("the stream starts with %x", got)
	}
	var got []byte
	for p = p[16:]; len(p) > 0; {
		size := binary.BigEndian.Uint32(p)
		block, err := s2.Decode(nil, p[4:4+size])
		if err != nil || len(block) > 32<<10 {
			t.Fatalf("block of %d bytes: %v", len(block), err)
		}
		got = append(got, block...)
		p = p[4+size:]
	}
	if !bytes.Equal(got, want) {
		t.Error("the blocks hold something else")
	}
}

func TestLZ4FramesAreAsKafkaWritesThem(t *testing.T) {
	p, err := record.Compress(nil, contents()["mixed"], record.LZ4, record.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	// Version 1, independent blocks, no checksums, no content size; blocks of 64 KiB.
	if string(p[:6]) != "\x04\x22\x4d\x18\x60\x40" {
		t.Errorf("the frame starts with %x", p[:6])
	}
}

// TestZstdWindowsStayReadable: whatever the level and however large the data.
func TestZstdWindowsStayReadable(t *testing.T) {
	big := bytes.Repeat(noise(1<<20), 9)
	for _, level := range []int{1, record.DefaultLevel, 6, 22} {
		p, err := record.Compress(nil, big, record.Zstd, level)
		if err != nil {
			t.Fatal(err)
		}
		var h zstd.Header
		if err := h.Decode(p); err != nil || h.WindowSize > 8<<20 || !h.HasFCS {
			t.Errorf("level %d: window of %d bytes, content size stated %t, %v", level, h.WindowSize, h.HasFCS, err)
		}
	}
}

// oneRecord is a batch of one record, around all of which there is codec.
func oneRecord(t testing.TB, codec record.Codec, value []byte) record.Batch {
	t.Helper()
	p, err := record.Compress(nil, rec(varints(0, 0, 0, -1, int64(len(value))), value, varints(0)), codec, record.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	b := regionOf(t, codec, p)
	binary.BigEndian.PutUint32(b[23:], 0)
	binary.BigEndian.PutUint32(b[57:], 1)
	return seal(b)
}

func TestLimitIsExact(t *testing.T) {
	for _, codec := range codecs {
		batch := oneRecord(t, codec, bytes.Repeat([]byte("0123456789"), 40_000))
		size, err := record.Validate(batch, anyBatch())
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			limit int64
			ok    bool
		}{{size.UncompressedSize, true}, {size.UncompressedSize - 1, false}, {1, false}, {size.UncompressedSize + 1, true}} {
			limits := record.Limits{MaxDecompressed: tc.limit}
			out, err := record.NewDecompressor(limits).Records(nil, batch)
			if (err == nil) != tc.ok || tc.ok && int64(len(out)) != size.UncompressedSize || !tc.ok && !errors.Is(err, record.ErrTooLarge) {
				t.Errorf("%s with a limit of %d: %d bytes, %v", codec, tc.limit, len(out), err)
			}
			if codec == record.None {
				continue
			}
			v := anyBatch()
			v.Limits = limits
			if _, err := record.Validate(batch, v); (err == nil) != tc.ok || !tc.ok && kerr.CodeOf(err) != kerr.InvalidRecord {
				t.Errorf("validation of %s with a limit of %d: %v", codec, tc.limit, err)
			}
		}
	}
}

// allocated runs f and returns how many bytes it allocated.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBombs has batches of a few KiB up to some MiB that decompress to 24 MiB (row 45): as one record and as very many.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("compresses 120 MiB")
	}
	const size, limit, budget = 24 << 20, 1 << 20, 18 << 20
	var many []byte
	for n := int64(0); len(many) < size/4; n++ {
		many = append(many, rec(varints(0, 0, n, -1, -1, 0))...)
	}
	for _, codec := range codecs[1:] {
		packed, err := record.Compress(nil, many, codec, record.DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		records := regionOf(t, codec, packed)
		binary.BigEndian.PutUint32(records[57:], 1<<30)
		binary.BigEndian.PutUint32(records[23:], 1<<30-1)
		for name, bomb := range map[string]record.Batch{"one record": oneRecord(t, codec, make([]byte, size)), "many records": seal(records)} {
			for range 2 { // the second time with pools that are full
				used := allocated(func() {
					v := anyBatch()
					v.Limits.MaxDecompressed = limit
					if _, err := record.Validate(bomb, v); kerr.CodeOf(err) != kerr.InvalidRecord || !strings.Contains(err.Error(), "exceed the limit") {
						t.Errorf("%s, %s of %d bytes: %v", codec, name, len(bomb), err)
					}
				})
				if used > budget {
					t.Errorf("%s, %s: validation allocated %d bytes", codec, name, used)
				}
				used = allocated(func() {
					var it record.Iterator
					it.Reset(bomb, record.NewDecompressor(record.Limits{MaxDecompressed: limit}))
					if it.Next() || !errors.Is(it.Err(), record.ErrTooLarge) {
						t.Errorf("%s, %s: the iterator says %v", codec, name, it.Err())
					}
				})
				if used > budget {
					t.Errorf("%s, %s: the iterator allocated %d bytes", codec, name, used)
				}
			}
		}
	}
}

// write is w.Write without the number.
func write(w io.Writer, p []byte) error {
	_, err := w.Write(p)
	return err
}

// zstdFrame is a frame with one block, not compressed, and the given window descriptor (RFC 8878, section 3.1.1.1.2).
func zstdFrame(window byte, raw []byte) []byte {
	block := len(raw)<<3 | 1
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, window, byte(block), byte(block >> 8), byte(block >> 16)}, raw...)
}

// hostileStreams are compressed records that a leader must not take (row 46), although some libraries would.
func hostileStreams(t testing.TB) map[string]record.Batch {
	t.Helper()
	streams := map[string]record.Batch{}
	raw := rec(varints(0, 0, 0, -1, 1000), bytes.Repeat([]byte("0123456789"), 100), varints(0))
	add := func(name string, codec record.Codec, p ...[]byte) {
		b := regionOf(t, codec, bytes.Join(p, nil))
		binary.BigEndian.PutUint32(b[23:], 0)
		binary.BigEndian.PutUint32(b[57:], 1)
		streams[name] = seal(b)
	}
	pack := func(codec record.Codec, raw []byte) []byte {
		p, err := record.Compress(nil, raw, codec, record.DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, codec := range codecs[1:] {
		p := pack(codec, raw)
		add(codec.String()+": nothing", codec)
		add(codec.String()+": noise", codec, noise(100))
		add(codec.String()+": not compressed", codec, raw)
		add(codec.String()+": last byte missing", codec, p[:len(p)-1])
		add(codec.String()+": first half", codec, p[:len(p)/2])
		add(codec.String()+": one byte after", codec, p, []byte{7})
		add(codec.String()+": noise after", codec, p, noise(50))
		add(codec.String()+": twice", codec, p, p)
		add(codec.String()+": nothing inside", codec, pack(codec, nil))
	}
	frame := pack(record.LZ4, raw)
	flip := func(at int, bits byte) []byte {
		p := bytes.Clone(frame)
		p[at] ^= bits
		return p
	}
	add("lz4: dependent blocks", record.LZ4, flip(4, 0x20))
	add("lz4: version 0", record.LZ4, flip(4, 0x40))
	add("lz4: dictionary", record.LZ4, flip(4, 0x01))
	add("lz4: reserved flag", record.LZ4, flip(4, 0x02))
	add("lz4: block size 0", record.LZ4, flip(5, 0x40))
	add("lz4: reserved block size bits", record.LZ4, flip(5, 0x81))
	add("lz4: header checksum", record.LZ4, flip(6, 0xff))
	add("lz4: block past the end", record.LZ4, flip(9, 0xff))
	add("lz4: empty frame first", record.LZ4, pack(record.LZ4, nil), frame)
	add("lz4: skippable frame first", record.LZ4, []byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x"), frame)
	add("lz4: skippable frame after", record.LZ4, frame, []byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x"))
	var legacy bytes.Buffer
	w := lz4.NewWriter(&legacy)
	if err := errors.Join(w.Apply(lz4.LegacyOption(true)), write(w, raw), w.Close()); err != nil {
		t.Fatal(err)
	}
	add("lz4: legacy frame", record.LZ4, legacy.Bytes())

	xerial := pack(record.Snappy, raw)
	add("snappy: framing of version 2", record.Snappy, xerial[:15], []byte{2}, xerial[16:])
	add("snappy: header alone", record.Snappy, xerial[:16])
	add("snappy: half a header", record.Snappy, xerial[:10])
	add("snappy: length -1", record.Snappy, xerial[:16], []byte{0xff, 0xff, 0xff, 0xff}, xerial[20:])
	add("snappy: length 2147483647", record.Snappy, xerial[:16], []byte{0x7f, 0xff, 0xff, 0xff}, xerial[20:])
	add("snappy: claims 4 GiB", record.Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0})
	add("snappy: claims 64 MiB", record.Snappy, []byte{0x80, 0x80, 0x80, 0x20, 0, 0})
	add("snappy: many empty blocks", record.Snappy, xerial[:16], bytes.Repeat([]byte{0, 0, 0, 1, 0}, 1000), xerial[16:])
	for name, opts := range map[string][]zstd.EOption{
		"zstd: unknown dictionary":   {zstd.WithEncoderDictRaw(77, bytes.Repeat([]byte("0123456789"), 10))},
		"zstd: content checksum bad": {zstd.WithEncoderCRC(true)},
	} {
		var buf bytes.Buffer
		w, err := zstd.NewWriter(&buf, append(opts, zstd.WithEncoderConcurrency(1))...)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write(w, raw), w.Close()); err != nil {
			t.Fatal(err)
		}
		p := buf.Bytes()
		if strings.Contains(name, "checksum") {
			p[len(p)-1] ^= 1
		}
		add(name, record.Zstd, p)
	}
	add("zstd: window of 9 MiB", record.Zstd, zstdFrame(0x69, raw))
	add("zstd: window of 16 MiB", record.Zstd, zstdFrame(0x70, raw))
	add("zstd: window of 512 MiB", record.Zstd, zstdFrame(0x98, raw))
	add("zstd: window of 3.75 TiB", record.Zstd, zstdFrame(0xff, raw))
	// A frame header that claims 60 MiB in a single segment and holds nothing.
	add("zstd: claims 60 MiB", record.Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0x00, 0x00, 0xc0, 0x03, 0x01, 0x00, 0x00})
	return streams
}

func TestHostileStreams(t *testing.T) {
	for name, p := range hostileStreams(t) {
		t.Run(name, func(t *testing.T) {
			used := allocated(func() { hostile{code: kerr.InvalidRecord}.check(t, p) })
			if used > 24<<20 {
				t.Errorf("validation of %d bytes allocated %d", len(p), used)
			}
			used = allocated(func() {
				var it record.Iterator
				it.Reset(p, nil)
				for it.Next() {
				}
				if it.Err() == nil {
					t.Error("the iterator reads it without an error")
				}
			})
			if used > 24<<20 {
				t.Errorf("iterating %d bytes allocated %d", len(p), used)
			}
		})
	}
}

// TestS2IsNotSnappy: the library reads its own extension, other clients do not.
func TestS2IsNotSnappy(t *testing.T) {
	// Long matches with a changed byte now and then: what S2 has a shorter form for.
	value := bytes.Repeat(noise(300), 10)
	for i := 350; i < len(value); i += 97 {
		value[i] ^= 0xff
	}
	region := rec(varints(0, 0, 0, -1, int64(len(value))), value, varints(0))
	for name, p := range map[string][]byte{"plain": s2.Encode(nil, region), "better": s2.EncodeBetter(nil, region), "best": s2.EncodeBest(nil, region)} {
		batch := regionOf(t, record.Snappy, p)
		binary.BigEndian.PutUint32(batch[23:], 0)
		binary.BigEndian.PutUint32(batch[57:], 1)
		seal(batch)
		hostile{code: kerr.InvalidRecord, text: "S2 extension"}.check(t, batch)
		if got := read(t, batch); !bytes.Equal(got[0].Value, value) {
			t.Errorf("%s: the iterator reads something else", name)
		}
	}
}

// TestDependentLZ4BlocksAreRefused: the library reads them, clients in Java fail on them. The header's own checksum is right.
func TestDependentLZ4BlocksAreRefused(t *testing.T) {
	batch := oneRecord(t, record.LZ4, bytes.Repeat([]byte("0123456789"), 100))
	frame := batch[record.HeaderSize:]
	frame[4] &^= 0x20
	for {
		if ok, err := lz4.ValidFrameHeader(frame); ok && err == nil {
			break
		}
		frame[6]++
	}
	if _, err := io.Copy(io.Discard, lz4.NewReader(bytes.NewReader(frame))); err != nil {
		t.Fatalf("the library does not read it: %v", err)
	}
	hostile{code: kerr.InvalidRecord, text: "depend on each other"}.check(t, seal(batch))
}

// TestUnusualStreamsThatAreFine are those that Kafka's own clients read as well.
func TestUnusualStreamsThatAreFine(t *testing.T) {
	want := samples()
	region := build(t, record.None, want)[record.HeaderSize:]
	cut := len(region) / 3
	var block256 bytes.Buffer
	w := lz4.NewWriter(&block256)
	if err := errors.Join(w.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ChecksumOption(true), lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(region)))),
		write(w, region), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]struct {
		codec record.Codec
		p     []byte
	}{
		"zstd with a window of 8 MiB":            {record.Zstd, zstdFrame(0x68, region)},
		"gzip in two members":                    {record.Gzip, append(compressForeign(t, record.Gzip, region[:cut]), compressForeign(t, record.Gzip, region[cut:])...)},
		"zstd in two frames":                     {record.Zstd, append(compressForeign(t, record.Zstd, region[:cut]), compressForeign(t, record.Zstd, region[cut:])...)},
		"snappy without framing":                 {record.Snappy, s2.EncodeSnappy(nil, region)},
		"snappy without framing, better":         {record.Snappy, s2.EncodeSnappyBetter(nil, region)},
		"snappy without framing, best":           {record.Snappy, s2.EncodeSnappyBest(nil, region)},
		"lz4 with all checksums and a size":      {record.LZ4, block256.Bytes()},
		"snappy framed by a later minor version": {record.Snappy, append([]byte("\x82SNAPPY\x00\x00\x00\x00\x09\x00\x00\x00\x01"), framed(region)...)},
	} {
		t.Run(name, func(t *testing.T) {
			b := append(bytes.Clone(build(t, record.None, want)[:record.HeaderSize]), p.p...)
			binary.BigEndian.PutUint16(b[21:], uint16(p.codec))
			batch := seal(b)
			if _, err := record.Validate(batch, anyBatch()); err != nil {
				t.Fatal(err)
			}
			if diff := diffRecords(want, read(t, batch)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// framed puts p into one snappy block with its length in front.
func framed(p []byte) []byte {
	block := s2.EncodeSnappy(nil, p)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(block))), block...)
}

// TestDamagedStreamsAgree flips each bit of compressed batches and corrects the checksum: what is still accepted must be
// read alike by the independent decoder.
func TestDamagedStreamsAgree(t *testing.T) {
	for _, codec := range codecs[1:] {
		batch := build(t, codec, samples()[:4])
		accepted := 0
		for at := record.HeaderSize; at < len(batch); at++ {
			for bit := range 8 {
				p := bytes.Clone(batch)
				p[at] ^= 1 << bit
				if _, err := record.Validate(seal(p), anyBatch()); err == nil {
					accepted++
					agree(t, p)
				}
			}
		}
		t.Logf("%s: %d of %d damaged batches are sound records", codec, accepted, 8*(len(batch)-record.HeaderSize))
	}
}

// agree fails unless the iterator and the independent decoder read the same from an accepted batch.
func agree(t testing.TB, p record.Batch) {
	t.Helper()
	got := read(t, p)
	f, err := readForeign(p)
	if err != nil {
		t.Fatalf("accepted, but an independent decoder fails: %v\n%x", err, []byte(p))
	}
	if diff := diffRecords(f.asRecords(), got); diff != "" {
		t.Fatalf("an independent decoder reads other records (-independent +iterator):\n%s\n%x", diff, []byte(p))
	}
	if len(got) != int(p.Count()) {
		t.Fatalf("%d records, the header says %d\n%x", len(got), p.Count(), []byte(p))
	}
}

// TestPoolsAreSafeForConcurrentUse: many goroutines, all codecs, batches good and bad in turn.
func TestPoolsAreSafeForConcurrentUse(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	want := samples()
	var batches, bad []record.Batch
	for _, codec := range codecs {
		batches = append(batches, build(t, codec, want))
	}
	for _, p := range hostileStreams(t) {
		bad = append(bad, p)
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for round := range 20 {
				codec := codecs[(worker+round)%len(codecs)]
				if _, err := record.Validate(bytes.Clone(bad[(worker*20+round)%len(bad)]), anyBatch()); err == nil {
					t.Error("a hostile stream was accepted")
				}
				b := record.NewBuilder(nil, 1<<30)
				for _, r := range want {
					b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
				}
				batch, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				for rec, err := range batch.Records(nil) {
					if err != nil || !bytes.Equal(rec.Value, want[n].Value) {
						t.Errorf("%s: record %d: %v", codec, n, err)
						return
					}
					n++
				}
				if _, err := record.Validate(bytes.Clone(batches[(worker+round)%len(batches)]), anyBatch()); err != nil || n != len(want) {
					t.Errorf("%s: %d records, %v", codec, n, err)
				}
			}
		})
	}
	group.Wait()
}

func TestLimitsDefault(t *testing.T) {
	if testing.Short() {
		t.Skip("compresses 64 MiB")
	}
	batch := oneRecord(t, record.Gzip, make([]byte, record.DefaultMaxDecompressed))
	if _, err := record.Validate(batch, anyBatch()); kerr.CodeOf(err) != kerr.InvalidRecord || !strings.Contains(fmt.Sprint(err), "exceed the limit") {
		t.Errorf("a little more than 64 MiB: %v", err)
	}
}
