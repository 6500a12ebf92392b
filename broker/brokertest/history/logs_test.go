package history

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// batch builds a batch of records at an offset.
func batch(t *testing.T, base int64, values ...string) []byte {
	t.Helper()
	b := record.NewBuilder(nil, 1<<20)
	for _, v := range values {
		if !b.Append(1, nil, []byte(v), nil) {
			t.Fatal("the batch is full")
		}
	}
	out, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	out.SetBaseOffset(base)
	return slices.Clone(out)
}

func TestReplicasThatDiffer(t *testing.T) {
	one, two, three := batch(t, 0, "a", "b"), batch(t, 2, "c"), batch(t, 3, "d", "e")
	whole := slices.Concat(one, two, three)
	flip := func(at int) []byte { b := bytes.Clone(whole); b[at] ^= 1; return b }
	for name, tc := range map[string]struct {
		hw      cluster.Offset
		replica []byte
		want    string
	}{
		"equal":                                 {5, whole, ""},
		"equal to the watermark":                {3, slices.Concat(one, two, batch(t, 3, "x")), ""},
		"shorter, but not below it":             {3, slices.Concat(one, two), ""},
		"different below it":                    {5, slices.Concat(one, two, batch(t, 3, "d", "x")), "different-replicas"},
		"too short":                             {5, slices.Concat(one, two), "different-replicas"},
		"empty":                                 {5, nil, "different-replicas"},
		"a flipped bit in a value":              {5, flip(len(one) - 1), "broken-log different-replicas"},
		"a flipped bit beyond":                  {2, flip(len(whole) - 1), ""},
		"the leader epoch, which no sum covers": {5, flip(15), "different-replicas"},
		"a gap":                                 {5, slices.Concat(one, three), "broken-log different-replicas"},
		"a batch twice":                         {5, slices.Concat(one, two, two, three), "broken-log different-replicas"},
		"torn":                                  {5, whole[:len(whole)-3], "broken-log different-replicas"},
	} {
		got := CompareLogs(p0, tc.hw, Replica{"1", whole}, Replica{"2", tc.replica})
		if kinds(got) != tc.want {
			t.Errorf("%s: found %v, want %q", name, got, tc.want)
		}
		if tc.want == "" {
			continue
		}
		if got := CompareLogs(p0, tc.hw, Replica{"2", tc.replica}, Replica{"1", whole}); len(got) == 0 {
			t.Errorf("%s: nothing found the other way round", name)
		}
	}
}
