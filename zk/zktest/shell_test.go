package zktest_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shellScript is what an operator types into zkCli.sh or Kafka's zookeeper-shell.sh.
const shellScript = `ls /
create /cli hello
create /cli hello
get /cli
get -s /cli
stat /cli
set /cli world
set -v 7 /cli nope
set -s /cli again
create -e /cli/e x
create -s /cli/s- x
create -s -e /cli/se- x
create -c /cli/box
create -t 1000 /cli/ttl
create /cli/null
get /cli/null
ls /cli
ls -s /cli
ls -R /cli
ls -w /cli
create /cli/w 1
get -w /cli/w
set /cli/w 2
delete /cli/missing
delete -v 9 /cli/w
delete /cli/w
delete /cli
getAcl /cli
getAcl -s /cli
addauth digest bob:pw
setAcl /cli/null auth:bob:pw:crwa
getAcl /cli/null
setAcl /cli/null bogus:x:r
whoami
addWatch -m PERSISTENT /cli/p
create /cli/p x
set /cli/p y
removewatches /cli/p
removewatches /cli/p
addWatch /cli/r
create /cli/r x
create /cli/r/s x
getEphemerals /cli
getAllChildrenNumber /cli
sync /cli
listquota /cli
setquota -n 5 /cli/box
listquota /cli/box
delquota /cli/box
config
reconfig -remove 3
version
ls /nope
get /nope
stat /nope
deleteall /cli
ls /
close
quit
`

// TestTheShellShowsTheSame runs Apache's own shell against both servers and compares what it prints.
func TestTheShellShowsTheSame(t *testing.T) {
	_, apache := startApacheAt(t)
	_, ours := startEmbeddedAt(t)
	want, got := shell(t, apache), shell(t, ours)
	if len(want) < 100 {
		t.Errorf("only %d lines from Apache's server", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-Apache +embedded):\n%s", diff)
	}
}

var unstable = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(?m)^([cmp]time) = .*$`), "$1 = *"},
	{regexp.MustCompile(`0x[0-9a-f]+`), "0x*"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "server"},
	{regexp.MustCompile(`(?m)^.*\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d.*$`), "*"},
	{regexp.MustCompile(`zxid: -?\d+`), "zxid: *"},
	// Apache's server keeps the statistics of a quota; for the embedded one they are a node like any other.
	{regexp.MustCompile(`(?m)^(Output stat for \S+ count=).*$`), "$1*"},
}

// shell returns the lines that the shell prints, without what differs from run to run, sorted: events come when they come.
func shell(t *testing.T, addr string) []string {
	t.Helper()
	cmd := java(t, "org.apache.zookeeper.ZooKeeperMain", "-server", addr, "-waitforconnection")
	cmd.Stdin = strings.NewReader(shellScript)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("the shell ended with %v", err)
	}
	text := string(out)
	for _, u := range unstable {
		text = u.pattern.ReplaceAllString(text, u.with)
	}
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return lines
}
