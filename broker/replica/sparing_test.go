package replica

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/kerr"
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

// TestOrdersThatWereCarriedOutAlreadyAreNoNews: every new controller repeats all orders.
func TestOrdersThatWereCarriedOutAlreadyAreNoNews(t *testing.T) {
	var out bytes.Buffer
	b := startBroker(t, vfs.NewMem())
	b.m.cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true})
	b.lead(3, self)
	if got := b.order(b.state(self, 3, self)); got != kerr.StaleControllerEpoch || out.Len() != 0 {
		t.Errorf("the same again: %v, logged\n%s", got, &out)
	}
	if b.order(b.state(self, 2, self)); !strings.Contains(out.String(), orderRefused) {
		t.Errorf("an older one: logged\n%s", &out)
	}
}
