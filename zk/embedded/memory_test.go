package embedded_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
)

// resident returns the resident set of a process in MB; without /proc the test is skipped.
func (l *life) resident(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(l.cmd.Process.Pid) + "/statm")
	if err != nil {
		t.Skip("no /proc here: ", err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / 1e6
}

// TestTenThousandIdleSessions connects ten thousand clients to a server process, lets each ping, and looks at its size:
// it must stay below 200 MB. With -short, or where not so many files may be open, there are fewer clients and less is allowed.
func TestTenThousandIdleSessions(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector multiplies memory")
	}
	sessions := 10_000
	if testing.Short() || openFiles(t) < sessions+1000 {
		sessions = 1000
	}
	d := newDaemon(t, "maxClientCnxns=0\nmaxSessionTimeout=60000\n")
	l := d.run()
	empty := l.resident(t)
	if empty > 30 {
		t.Errorf("%.1f MB when empty", empty)
	}
	clients := make([]*zktest.Client, sessions)
	began := time.Now()
	for i := range clients {
		clients[i] = d.Open(t)
		clients[i].SendRecord(&jute.ConnectRequest{TimeoutMs: 60_000})
	}
	for i, c := range clients {
		body := c.ReadFrame()
		var r jute.ConnectResponse
		if r.Decode(jute.NewDecoder(body)); r.SessionID == 0 {
			t.Fatalf("client %d got no session", i)
		}
	}
	took := time.Since(began)
	for _, c := range clients {
		c.Send(jute.OpPing, nil)
	}
	for _, c := range clients {
		c.Receive()
	}
	full := l.resident(t)
	t.Logf("%.1f MB when empty, %.1f MB with %d sessions, which took %v to connect", empty, full, sessions, took)
	if allowed := 30 + 170*float64(sessions)/10_000; full > allowed {
		t.Errorf("%.1f MB with %d sessions, %.0f MB allowed", full, sessions, allowed)
	}
}

// BenchmarkStartToFirstAnswer starts server processes, on empty directories, and takes the time until srvr is answered.
func BenchmarkStartToFirstAnswer(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		d := newDaemon(b, "")
		b.StartTimer()
		l := d.run()
		b.StopTimer()
		l.kill()
		b.StartTimer()
	}
}
