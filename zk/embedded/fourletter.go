package embedded

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Version is what srvr, stat and mntr print. The date has the form that servers up to 3.6 used, because that is the
// only one that the go-zookeeper library, among others, can parse (Z§13).
const Version = "3.8.0-embedded, built on 02/25/2022 08:49 GMT"

// fourLetterWords is the commands that a client may send instead of a handshake.
var fourLetterWords map[string]func(k *core, w *strings.Builder)

func init() {
	fourLetterWords = map[string]func(k *core, w *strings.Builder){
		"ruok": func(_ *core, w *strings.Builder) { w.WriteString("imok") },
		"isro": func(_ *core, w *strings.Builder) { w.WriteString("rw") },
		"srst": (*core).wordResetServer,
		"crst": (*core).wordResetConns,
		"srvr": (*core).wordServer,
		"stat": (*core).wordStat,
		"cons": (*core).wordConns,
		"conf": (*core).wordConf,
		"mntr": (*core).wordMonitor,
		"dump": (*core).wordDump,
		"wchs": (*core).wordWatchSummary,
		"wchc": (*core).wordWatchBySession,
		"wchp": (*core).wordWatchByPath,
		"dirs": (*core).wordDirs,
		"envi": (*core).wordEnvironment,
	}
}

func isWord(s string) bool { _, ok := fourLetterWords[s]; return ok }

// word answers a four-letter word and ends the connection (Z§13).
func (k *core) word(c *conn, name string) {
	var w strings.Builder
	if slices.Contains(k.cfg.Whitelist4lw, "*") || slices.Contains(k.cfg.Whitelist4lw, name) {
		fourLetterWords[name](k, &w)
	} else {
		fmt.Fprintf(&w, "%s is not executed because it is not in the whitelist.\n", name)
	}
	k.emit(c, []byte(w.String()), nil, true)
}

func (k *core) wordResetServer(w *strings.Builder) {
	k.s.stats.received.Store(0)
	k.s.stats.sent.Store(0)
	k.s.stats.latency = latencies{}
	w.WriteString("Server stats reset.\n")
}

func (k *core) wordResetConns(w *strings.Builder) {
	for c := range k.conns {
		since := c.stats.since
		c.stats = connStats{since: since}
	}
	w.WriteString("Connection stats reset.\n")
}

func (k *core) wordServer(w *strings.Builder) {
	fmt.Fprintf(w, "Zookeeper version: %s\n", Version)
	k.serverStats(w)
}

func (k *core) serverStats(w *strings.Builder) {
	st := &k.s.stats
	fmt.Fprintf(w, "Latency min/avg/max: %d/%.4f/%d\n", st.latency.min, st.latency.avg(), st.latency.max)
	fmt.Fprintf(w, "Received: %d\nSent: %d\nConnections: %d\nOutstanding: %d\n",
		st.received.Load(), st.sent.Load(), k.s.alive.Load(), k.outstanding())
	fmt.Fprintf(w, "Zxid: 0x%x\nMode: standalone\nNode count: %d\n", k.tree.LastZxid(), k.nodeCount())
}

// nodeCount is one more than the nodes there are, because Apache's server counts the root twice (Z§5).
func (k *core) nodeCount() int { return k.tree.NodeCount() + 1 }

// outstanding is the number of replies that wait for the disk.
func (k *core) outstanding() int { return len(k.held.frames) - k.held.head }

func (k *core) wordStat(w *strings.Builder) {
	fmt.Fprintf(w, "Zookeeper version: %s\nClients:\n", Version)
	for _, c := range k.connList() {
		connLine(w, c)
		w.WriteString(")\n")
	}
	w.WriteByte('\n')
	k.serverStats(w)
}

func (k *core) connList() []*conn {
	out := make([]*conn, 0, len(k.conns))
	for c := range k.conns {
		if c.state != connClosed {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *conn) int { return cmp.Compare(a.remote, b.remote) })
	return out
}

func connLine(w *strings.Builder, c *conn) {
	interest := 0
	if c.session != nil {
		interest = 1
	}
	fmt.Fprintf(w, " /%s[%d](queued=0,recved=%d,sent=%d", c.remote, interest, c.stats.received, c.stats.sent)
}

func (k *core) wordConns(w *strings.Builder) {
	for _, c := range k.connList() {
		connLine(w, c)
		if ss := c.session; ss != nil {
			st := &c.stats
			op, xid, zxid, at := "NA", "", int64(-1), int64(0)
			if !st.lastAt.IsZero() {
				op, zxid, at = st.lastOp.ShortName(), st.lastZxid, st.lastAt.UnixMilli()
				xid = fmt.Sprintf("lcxid=0x%x,", uint32(st.lastXid))
			}
			fmt.Fprintf(w, ",sid=0x%x,lop=%s,est=%d,to=%d,%slzxid=0x%x,lresp=%d,llat=%d,minlat=%d,avglat=%d,maxlat=%d",
				ss.id, op, st.since.UnixMilli(), ss.timeout.Milliseconds(), xid, uint64(zxid), at,
				st.lastMs, st.latency.min, int64(st.latency.avg()), st.latency.max)
		}
		w.WriteString(")\n")
	}
	w.WriteByte('\n')
}

func (k *core) wordConf(w *strings.Builder) {
	snapshots, segments := k.s.store.Sizes()
	port := k.s.ln.Addr().String()
	if i := strings.LastIndexByte(port, ':'); i >= 0 {
		port = port[i+1:]
	}
	fmt.Fprintf(w, "clientPort=%s\nsecureClientPort=-1\ndataDir=%s\ndataDirSize=%d\ndataLogDir=%s\ndataLogSize=%d\n",
		port, k.cfg.DataDir, snapshots, k.cfg.DataLogDir, segments)
	fmt.Fprintf(w, "tickTime=%d\nmaxClientCnxns=%d\nminSessionTimeout=%d\nmaxSessionTimeout=%d\n",
		k.cfg.TickTime.Milliseconds(), max(k.cfg.MaxClientCnxns, 0),
		k.cfg.MinSessionTimeout.Milliseconds(), k.cfg.MaxSessionTimeout.Milliseconds())
	w.WriteString("clientPortListenBacklog=-1\nserverId=0\n")
}

func (k *core) wordMonitor(w *strings.Builder) {
	st := &k.s.stats
	for _, line := range []struct {
		name  string
		value any
	}{
		{"version", Version},
		{"server_state", "standalone"},
		{"avg_latency", fmt.Sprintf("%.4f", st.latency.avg())},
		{"max_latency", st.latency.max},
		{"min_latency", st.latency.min},
		{"packets_received", st.received.Load()},
		{"packets_sent", st.sent.Load()},
		{"num_alive_connections", k.s.alive.Load()},
		{"outstanding_requests", k.outstanding()},
		{"znode_count", k.nodeCount()},
		{"watch_count", k.watches.Count()},
		{"ephemerals_count", k.tree.EphemeralCount()},
		{"approximate_data_size", k.tree.DataSize()},
		{"global_sessions", k.sessions.count()},
		{"local_sessions", 0},
		{"uptime", k.s.since().Milliseconds()},
		{"last_proposal_size", -1},
	} {
		fmt.Fprintf(w, "zk_%s\t%v\n", line.name, line.value)
	}
}

func (k *core) wordDump(w *strings.Builder) {
	buckets := make([]int64, 0, len(k.sessions.buckets))
	for b := range k.sessions.buckets {
		buckets = append(buckets, b)
	}
	slices.Sort(buckets)
	fmt.Fprintf(w, "SessionTracker dump:\nSession Sets (%d)/(%d):\n", len(buckets), k.sessions.count())
	for _, b := range buckets {
		at := k.s.began.Add(time.Duration(b) * k.sessions.tick)
		fmt.Fprintf(w, "%d expire at %s:\n", len(k.sessions.buckets[b]), at.Format(time.UnixDate))
		for ss := range k.sessions.buckets[b] {
			fmt.Fprintf(w, "\t0x%x\n", ss.id)
		}
	}
	owners := k.tree.SessionsWithEphemerals()
	fmt.Fprintf(w, "ephemeral nodes dump:\nSessions with Ephemerals (%d):\n", len(owners))
	for _, id := range owners {
		fmt.Fprintf(w, "0x%x:\n", id)
		for _, path := range k.tree.EphemeralsOf(id) {
			fmt.Fprintf(w, "\t%s\n", path)
		}
	}
	fmt.Fprintf(w, "Connections dump:\nConnections Sets (1)/(%d):\n", len(k.conns))
	for _, c := range k.connList() {
		if c.session != nil {
			fmt.Fprintf(w, "\tip: /%s sessionId: 0x%x\n", c.remote, c.session.id)
		}
	}
}

func (k *core) wordWatchSummary(w *strings.Builder) {
	fmt.Fprintf(w, "%d connections watching %d paths\nTotal watches:%d\n",
		k.watches.Watchers(), k.watches.Paths(), k.watches.Count())
}

func (k *core) wordWatchBySession(w *strings.Builder) {
	by := k.watches.ByWatcher()
	for _, c := range k.connList() {
		if paths := by[c]; paths != nil && c.session != nil {
			slices.Sort(paths)
			fmt.Fprintf(w, "0x%x\n", c.session.id)
			for _, path := range paths {
				fmt.Fprintf(w, "\t%s\n", path)
			}
		}
	}
}

func (k *core) wordWatchByPath(w *strings.Builder) {
	by := make(map[string][]int64)
	for c, paths := range k.watches.ByWatcher() {
		for _, path := range paths {
			if c.session != nil {
				by[path] = append(by[path], c.session.id)
			}
		}
	}
	paths := make([]string, 0, len(by))
	for path := range by {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		slices.Sort(by[path])
		fmt.Fprintf(w, "%s\n", path)
		for _, id := range by[path] {
			fmt.Fprintf(w, "\t0x%x\n", id)
		}
	}
}

func (k *core) wordDirs(w *strings.Builder) {
	snapshots, segments := k.s.store.Sizes()
	fmt.Fprintf(w, "datadir_size: %d\nlogdir_size: %d\n", snapshots, segments)
}

func (k *core) wordEnvironment(w *strings.Builder) {
	fmt.Fprintf(w, "Environment:\nzookeeper.version=%s\ngo.version=%s\nos.name=%s\nos.arch=%s\n",
		Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
