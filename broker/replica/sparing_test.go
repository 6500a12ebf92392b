package replica

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestManyLinesOfOneKindAreCutShort(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true})
	var s sparing
	for _, lines := range []int{maxAlike, 3 * maxAlike} {
		out.Reset()
		for range lines {
			if s.next() {
				log.Info("refused")
			}
		}
		s.end(log, "refused")
		want := strings.Repeat("[INFO]  refused\n", maxAlike)
		if lines > maxAlike {
			want += "[INFO]  more of the same was not logged: text=refused count=40\n"
		}
		if out.String() != want {
			t.Errorf("%d lines are logged as\n%s", lines, out.String())
		}
	}
}
