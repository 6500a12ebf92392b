package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// lab is a network of the test's own: every node is a network namespace with one address, and a cable (veth) to each of the others, so that each
// direction between two nodes can be cut alone. A cut is a wrong hardware address for the neighbour: packets go out and nobody takes them, as in a network that
// loses them, while connections stay open. There is no bridge and no forwarding, so that firewall rules of the machine have no say.
//
// Node 0 is the namespace of the test itself, where the clients are.
type lab struct {
	t     *testing.T
	nodes int
	id    int // of the process of the test: runs at the same time have names and addresses of their own
}

// newLab builds the network, or says why there can be none here.
func newLab(t *testing.T, nodes int) (l *lab, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		return nil, "network namespaces need root"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, "there is no ip command (iproute2)"
	}
	l = &lab{t: t, nodes: nodes, id: os.Getpid()}
	t.Cleanup(l.close)
	for i := 1; i < nodes; i++ {
		if out, err := exec.Command("ip", "netns", "add", l.space(i)).CombinedOutput(); err != nil {
			return nil, fmt.Sprintf("ip netns add: %v: %s", err, out)
		}
	}
	for i := range nodes {
		for j := i + 1; j < nodes; j++ {
			args := []string{"link", "add", l.port(i, j), "address", l.mac(i, j)}
			if i > 0 {
				args = append(args, "netns", l.space(i))
			}
			args = append(args, "type", "veth", "peer", "name", l.port(j, i), "address", l.mac(j, i), "netns", l.space(j))
			if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
				return nil, fmt.Sprintf("ip %s: %v: %s", strings.Join(args, " "), err, out)
			}
		}
	}
	for i := range nodes {
		lines := []string{}
		if i > 0 {
			lines = append(lines, "link set lo up")
		}
		for j := range nodes {
			if j != i {
				lines = append(lines,
					fmt.Sprintf("addr add %s/32 dev %s", l.host(i), l.port(i, j)),
					fmt.Sprintf("link set %s up", l.port(i, j)),
					fmt.Sprintf("route add %s/32 dev %s src %s", l.host(j), l.port(i, j), l.host(i)),
					l.neighbour(i, j, true))
			}
		}
		l.batch(i, lines...)
	}
	return l, ""
}

// space is the name of a node's namespace.
func (l *lab) space(i int) string { return fmt.Sprintf("ottla%d-%d", l.id, i) }

// port is the name of a node's end of the cable to another; 15 characters at most.
func (l *lab) port(i, j int) string { return fmt.Sprintf("ot%d-%d%d", l.id, i, j) }

// mac is the hardware address of that end.
func (l *lab) mac(i, j int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", i, j) }

// host is a node's address, of a network that is reserved for tests of networks (RFC 2544).
func (l *lab) host(i int) string { return fmt.Sprintf("198.18.%d.%d", l.id/40%250, l.id%40*6+i+1) }

// neighbour is the command that makes what node i sends to node j arrive, or not.
func (l *lab) neighbour(i, j int, arrives bool) string {
	mac := l.mac(j, i)
	if !arrives {
		mac = "02:ff:ff:ff:ff:ff"
	}
	return fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", l.host(j), mac, l.port(i, j))
}

// batch runs commands of ip in a node's namespace.
func (l *lab) batch(i int, lines ...string) {
	l.t.Helper()
	args := []string{"-batch", "-"}
	if i > 0 {
		args = append([]string{"-n", l.space(i)}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("ip in namespace %d: %v: %s\n%s", i, err, out, strings.Join(lines, "\n"))
	}
}

// oneWay lets nothing that node i sends reach node j, or lets it again.
func (l *lab) oneWay(i, j int, arrives bool) {
	l.t.Helper()
	l.batch(i, l.neighbour(i, j, arrives))
}

// both cuts a node from others in both directions, or undoes that.
func (l *lab) both(i int, arrives bool, others ...int) {
	l.t.Helper()
	for _, j := range others {
		l.oneWay(i, j, arrives)
		l.oneWay(j, i, arrives)
	}
}

// inside is the beginning of the command line of a process at a node.
func (l *lab) inside(i int) []string {
	if i == 0 {
		return nil
	}
	return []string{"ip", "netns", "exec", l.space(i)}
}

// close removes the namespaces; the cables go with them.
func (l *lab) close() {
	for i := 1; i < l.nodes; i++ {
		_ = exec.Command("ip", "netns", "del", l.space(i)).Run() // it may not be there
	}
}

// TestTheLabCuts wants a cut in either direction to keep a client from a server, and the end of the cut to let it through again.
func TestTheLabCuts(t *testing.T) {
	l, why := newLab(t, 3)
	if why != "" {
		t.Skip(why)
	}
	props := writeFile(t, "zookeeper.properties", "dataDir="+t.TempDir(), "clientPort=2181", "clientPortAddress="+l.host(1), "admin.enableServer=false")
	newSubject(t, t.TempDir(), "zookeeper", append(l.inside(1), ottla(t), "zookeeper", props)...).start()
	reaches := func(limit time.Duration) bool {
		conn, err := net.DialTimeout("tcp", l.host(1)+":2181", limit)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	within(t, time.Minute, "the server is reached", func() bool { return reaches(time.Second) })
	for _, d := range [][2]int{{0, 1}, {1, 0}} {
		l.oneWay(d[0], d[1], false)
		if reaches(300 * time.Millisecond) {
			t.Errorf("nothing goes from %d to %d, and the client has reached the server", d[0], d[1])
		}
		l.oneWay(d[0], d[1], true)
		within(t, time.Minute, "the server is reached again", func() bool { return reaches(5 * time.Second) })
	}
	l.both(1, false, 2)
	if !reaches(time.Minute) {
		t.Error("a cut between others keeps the client from the server")
	}
}
