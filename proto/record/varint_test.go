package record

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestVarintsAreThoseOfTheStandardLibrary(t *testing.T) {
	var numbers []int64
	for shift := range 64 {
		for _, near := range []int64{-2, -1, 0, 1, 2} {
			numbers = append(numbers, int64(1)<<shift+near, -(int64(1)<<shift)+near)
		}
	}
	numbers = append(numbers, math.MinInt64, math.MaxInt64, math.MinInt32, math.MaxInt32)
	for _, n := range numbers {
		want := binary.AppendVarint(nil, n)
		var buf [maxVarlongLen + 1]byte
		if end := putUvarint(buf[:], 0, zigzag64(n)); string(buf[:end]) != string(want) || uvarintLen(zigzag64(n)) != end {
			t.Errorf("%d is encoded as %x, said to be %d bytes, want %x", n, buf[:end], uvarintLen(zigzag64(n)), want)
		}
		if got, next := varlong(want, 0); got != n || next != len(want) {
			t.Errorf("%x is decoded as %d up to %d, want %d", want, got, next, n)
		}
		// With more bytes after it, and at another position.
		padded := append(append([]byte{0xff}, want...), 0xff, 0xff)
		if got, next := varlong(padded, 1); got != n || next != len(want)+1 {
			t.Errorf("%x is decoded at 1 as %d up to %d, want %d", padded, got, next, n)
		}
		got, next := varint(padded, 1)
		switch fits := n >= math.MinInt32 && n <= math.MaxInt32; {
		case fits && (int64(got) != n || next != len(want)+1):
			t.Errorf("%x is decoded at 1 as %d up to %d, want %d", padded, got, next, n)
		case !fits && next != overlong:
			t.Errorf("%d does not fit 32 bits, yet %x is decoded as %d up to %d", n, want, got, next)
		}
		if n >= math.MinInt32 && n <= math.MaxInt32 && zigzag32(int32(n)) != zigzag64(n) {
			t.Errorf("zig-zag of %d is %d in 32 bits and %d in 64", n, zigzag32(int32(n)), zigzag64(n))
		}
		for cut := range want {
			if _, next := varlong(want[:cut], 0); next != truncated {
				t.Errorf("%x cut to %d bytes: next is %d, want truncated", want, cut, next)
			}
		}
	}
}

func TestOverlongVarintsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name    string
		bytes   []byte
		next32  int
		value32 int32
		next64  int
		value64 int64
	}{
		{name: "zero in two bytes is still zero", bytes: []byte{0x80, 0x00}, next32: 2, next64: 2},
		{name: "zero in five bytes is still zero", bytes: []byte{0x80, 0x80, 0x80, 0x80, 0x00}, next32: 5, next64: 5},
		{name: "six bytes", bytes: []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, next32: overlong, next64: 6},
		{name: "five bytes with 33 bits", bytes: []byte{0xff, 0xff, 0xff, 0xff, 0x1f}, next32: overlong, next64: 5, value64: -(1 << 32)},
		{name: "ten bytes", bytes: []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, next32: overlong, next64: 10},
		{name: "ten bytes with 65 bits", bytes: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, next32: overlong, next64: overlong},
		{name: "eleven bytes", bytes: []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, next32: overlong, next64: overlong},
		{name: "nothing", next32: truncated, next64: truncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if v, next := varint(tc.bytes, 0); next != tc.next32 || v != tc.value32 {
				t.Errorf("varint: %d up to %d, want %d up to %d", v, next, tc.value32, tc.next32)
			}
			v, next := varlong(tc.bytes, 0)
			if next != tc.next64 || v != tc.value64 {
				t.Errorf("varlong: %d up to %d, want %d up to %d", v, next, tc.value64, tc.next64)
			}
		})
	}
}

func FuzzVarint(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, p []byte) {
		want, n := binary.Varint(p)
		got, next := varlong(p, 0)
		if n > 0 && (got != want || next != n) || n <= 0 && next > 0 {
			t.Fatalf("varlong(%x) = %d up to %d, the standard library says %d up to %d", p, got, next, want, n)
		}
		small, next := varint(p, 0)
		fits := n > 0 && n <= maxVarintLen && want >= math.MinInt32 && want <= math.MaxInt32
		if fits != (next > 0) || fits && int64(small) != want {
			t.Fatalf("varint(%x) = %d up to %d, the standard library says %d up to %d", p, small, next, want, n)
		}
	})
}
