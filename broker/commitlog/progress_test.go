package commitlog

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// TestRecoveryInParallelSaysHowFarItIs recovers logs from a slow disk with one thread and with four.
func TestRecoveryInParallelSaysHowFarItIs(t *testing.T) {
	const logs = 8
	mem := vfs.NewMem()
	m := openOn(t, mem, smallConfig())
	segments := 0
	for p := range logs {
		l, err := m.GetOrCreate(cluster.TopicPartition{Topic: "t", Partition: int32(p)}, cluster.TopicID{}, true, smallConfig())
		must(t, err)
		for i := range 30 {
			appendValues(t, l, 0, int64(i), "some value that takes its room")
		}
		must(t, l.Flush())
		segments = len(l.Segments())
	}
	mem.Kill()
	took := map[int]time.Duration{}
	for _, threads := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			disk := mem.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
			slow := vfs.OnBase("*.log", vfs.OnOps(vfs.Latency(5*time.Second), vfs.OpRead))
			var out bytes.Buffer
			mc := managerConfig(vfs.Inject(disk, slow), smallConfig())
			mc.RecoveryThreads = threads
			mc.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true, Level: hclog.Info})
			started := time.Now()
			m, err := OpenManager(t.Context(), mc)
			must(t, err)
			took[threads] = time.Since(started)
			lines := decodeLines(t, out.Bytes())
			closeManager(t, m)
			if n := len(lines["recovering logs, because the directory was not closed properly"]); n != 1 {
				t.Errorf("%d lines say that recovery begins", n)
			}
			loaded := lines["loaded log"]
			if len(loaded) != logs {
				t.Fatalf("%d lines about logs, want %d", len(loaded), logs)
			}
			remaining := map[any]bool{}
			for _, l := range loaded {
				if l["segments-scanned"] != float64(segments) || l["segments"] != float64(segments) || l["log-end-offset"] != 30.0 {
					t.Errorf("%v, want %d segments", l, segments)
				}
				remaining[l["remaining-logs"]] = true
			}
			if len(remaining) != logs || !remaining[0.0] {
				t.Errorf("the numbers of logs that remain are %v", remaining)
			}
			way, scanned, left := lines["loading log directory goes on"], 0.0, float64(logs)
			if want := int(took[threads] / progressInterval); len(way) < want-1 || want < 2 {
				t.Errorf("%d lines about the way in %v", len(way), took[threads])
			}
			for _, l := range way {
				n, bytes, segs := l["remaining-logs"].(float64), l["scanned-bytes"].(float64), l["remaining-segments-of-logs-at-hand"].(float64)
				if n > left || bytes < scanned || segs < 0 || segs > float64(threads*segments) {
					t.Errorf("%v, after %v logs and %v bytes", l, left, scanned)
				}
				left, scanned = n, bytes
			}
			if scanned == 0 {
				t.Error("no bytes were counted")
			}
		})
	}
	if took[4]*3 > took[1] {
		t.Errorf("four threads took %v, one %v", took[4], took[1])
	}
}

// decodeLines returns log lines by their message.
func decodeLines(t *testing.T, text []byte) map[string][]map[string]any {
	t.Helper()
	lines := map[string][]map[string]any{}
	for line := range bytes.Lines(text) {
		var l map[string]any
		must(t, json.Unmarshal(line, &l))
		msg := l["@message"].(string)
		lines[msg] = append(lines[msg], l)
	}
	return lines
}
