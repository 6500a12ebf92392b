package epoch

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
)

func TestTheList(t *testing.T) {
	entries := []Entry{{2, 10}, {4, 20}, {7, 30}}
	const leo = 40
	for _, tt := range []struct {
		ask, epoch cluster.LeaderEpoch
		end        cluster.Offset
		ok         bool
	}{
		{-1, -1, -1, false}, {1, 1, 10, true}, {2, 2, 20, true}, {3, 2, 20, true},
		{4, 4, 30, true}, {6, 4, 30, true}, {7, 7, 40, true}, {8, -1, -1, false},
	} {
		epoch, end, ok := End(entries, tt.ask, leo)
		if epoch != tt.epoch || end != tt.end || ok != tt.ok {
			t.Errorf("end of epoch %d = %d, %d, %v; want %d, %d, %v", tt.ask, epoch, end, ok, tt.epoch, tt.end, tt.ok)
		}
	}
	if _, _, ok := End(nil, 3, leo); ok {
		t.Error("an empty cache gave an answer")
	}
	for _, tt := range []struct {
		epoch cluster.LeaderEpoch
		start cluster.Offset
		want  []Entry
	}{
		{7, 35, entries},
		{8, 40, []Entry{{2, 10}, {4, 20}, {7, 30}, {8, 40}}},
		{8, 30, []Entry{{2, 10}, {4, 20}, {8, 30}}},
		{3, 50, []Entry{{2, 10}, {3, 50}}},
		{9, 5, []Entry{{9, 5}}},
		{-1, 50, entries},
	} {
		if diff := cmp.Diff(tt.want, Assign(entries, tt.epoch, tt.start)); diff != "" {
			t.Errorf("assign %d at %d (-want +got):\n%s", tt.epoch, tt.start, diff)
		}
	}
	for end, want := range map[cluster.Offset][]Entry{5: {}, 10: {}, 11: {{2, 10}}, 30: {{2, 10}, {4, 20}}, 99: entries} {
		if diff := cmp.Diff(want, Before(entries, end)); diff != "" {
			t.Errorf("before %d (-want +got):\n%s", end, diff)
		}
	}
	for start, want := range map[cluster.Offset][]Entry{5: entries, 10: entries, 15: {{2, 15}, {4, 20}, {7, 30}}, 20: {{4, 20}, {7, 30}}, 99: {{7, 99}}} {
		if diff := cmp.Diff(want, From(entries, start)); diff != "" {
			t.Errorf("from %d (-want +got):\n%s", start, diff)
		}
	}
}
