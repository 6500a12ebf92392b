package partition

import (
	"testing"
)

func TestKeysLandWhereJavaPutsThem(t *testing.T) {
	const none = -1 // not in the table
	for _, c := range []struct {
		key                     string
		hash, mod3, mod6, mod12 int32
	}{
		{"", 275646681, 0, 3, 9},
		{"a", -1563381124, 1, 4, 4},
		{"21", -973932308, 0, 0, 0},
		{"abc", 479470107, 0, 3, 3},
		{"key", -1079937367, 1, 1, 1},
		{"foobar", -790332482, 0, 0, 6},
		{"key-0", 29210041, 1, 1, 1},
		{"hello", 2132663229, 0, 3, 9},
		{"user-42", 1459644460, 1, 4, 4},
		{"kafka", -798503068, 1, 4, 4},
		{"a-little-bit-long-string", -985981536, 2, 2, 8},
		{"a-little-bit-longer-string", -1486304829, 2, 5, 11},
		{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 2, 5, 5},
		{"éè中", -336972031, 1, 1, 1},
		{"\xff", -311467685, none, 3, none},
		{"\x00\x00\x00\x01", -173113808, none, 0, none},
		{"\xde\xad\xbe\xef\x01", -306773845, none, 1, none},
	} {
		if got := Murmur2([]byte(c.key)); got != c.hash {
			t.Errorf("Murmur2(%q) = %d, want %d", c.key, got, c.hash)
		}
		for n, want := range map[int32]int32{3: c.mod3, 6: c.mod6, 12: c.mod12} {
			if got := ForKey([]byte(c.key), n); want != none && got != want {
				t.Errorf("ForKey(%q, %d) = %d, want %d", c.key, n, got, want)
			}
		}
	}
}

func TestChoosingAllocatesNothing(t *testing.T) {
	key := []byte("a-little-bit-long-string")
	if n := testing.AllocsPerRun(100, func() { ForKey(key, 12) }); n != 0 {
		t.Errorf("ForKey allocates %v times", n)
	}
}

func TestATopicWithoutPartitionsIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("ForKey with 0 partitions did not panic")
		}
	}()
	ForKey(nil, 0)
}

func FuzzForKeyStaysInRange(f *testing.F) {
	f.Add([]byte("key"), int32(3))
	f.Add([]byte{}, int32(1))
	f.Fuzz(func(t *testing.T, key []byte, n int32) {
		if n <= 0 {
			return
		}
		if p := ForKey(key, n); p < 0 || p >= n {
			t.Errorf("ForKey(%x, %d) = %d", key, n, p)
		}
	})
}
