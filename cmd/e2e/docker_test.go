package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// demo is docker-compose.yml, brought up under a name and with ports of the test's own.
type demo struct {
	t     *testing.T
	env   []string
	ports map[string]int // by broker id
}

// compose runs "docker compose" to its end and returns what it printed.
func (d *demo) compose(limit time.Duration, args ...string) string {
	d.t.Helper()
	out, err := d.try(d.t.Context(), limit, args...)
	if err != nil {
		d.t.Fatalf("docker compose %s: %v\n%s", strings.Join(args, " "), err, tail(out, 40))
	}
	return out
}

func (d *demo) try(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", append([]string{"compose", "-f", "../../docker-compose.yml"}, args...)...)
	cmd.Env = d.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// from is the address of a broker on this host.
func (d *demo) from(id string) string { return "localhost:" + strconv.Itoa(d.ports[id]) }

// orderNumber finds the number in a line of the consumer.
var orderNumber = regexp.MustCompile(`order (\d+)`)

// consumed is the highest number that the demo's consumer has printed.
func (d *demo) consumed() int {
	d.t.Helper()
	highest := 0
	for _, m := range orderNumber.FindAllStringSubmatch(d.compose(time.Minute, "logs", "--no-log-prefix", "--tail", "100", "consumer"), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			d.t.Fatal(err)
		}
		highest = max(highest, n)
	}
	return highest
}

// awaitConsumed waits until the consumer has printed that many orders.
func (d *demo) awaitConsumed(n int) {
	d.t.Helper()
	within(d.t, time.Minute, fmt.Sprintf("the consumer prints order %d", n), func() bool { return d.consumed() >= n })
}

// partitionLine is what describe prints of a partition.
var partitionLine = regexp.MustCompile(`Partition: (\d+)\tLeader: (\w+)\tReplicas: (\S+)\tIsr: (\S+)`)

// partitions asks a broker for leader and in-sync replicas of the topic's partitions, by the listener for this host.
func (d *demo) partitions(id string) (leaders []string, isrs [][]string) {
	d.t.Helper()
	r := tool(d.t, nil, "topics", "--describe", "--topic", "orders", "--bootstrap-server", d.from(id))
	for _, m := range partitionLine.FindAllStringSubmatch(r.stdout, -1) {
		leaders, isrs = append(leaders, m[2]), append(isrs, strings.Split(m[4], ","))
	}
	return leaders, isrs
}

// TestComposeDemo brings the demo of docker-compose.yml up, uses it from the host, kills a broker that leads a partition, and wants the producer and the
// consumer to go on and nothing to be lost. It builds the image, which takes minutes, so that it runs only when OTTLA_E2E_DOCKER is set.
func TestComposeDemo(t *testing.T) {
	if os.Getenv("OTTLA_E2E_DOCKER") == "" {
		t.Skip("OTTLA_E2E_DOCKER is not set: no containers are started")
	}
	d := &demo{t: t, ports: map[string]int{}}
	d.env = append(os.Environ(), fmt.Sprintf("COMPOSE_PROJECT_NAME=ottla-e2e-%d", os.Getpid()), "OTTLA_IMAGE=ottla-e2e", "COMPOSE_PROFILES=")
	for _, id := range []string{"1", "2", "3"} {
		d.ports[id] = freePort(t)
		d.env = append(d.env, fmt.Sprintf("OTTLA_PORT_%s=%d", id, d.ports[id]))
	}
	d.compose(6*time.Minute, "build")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := d.try(context.Background(), time.Minute, "logs", "--tail", "40")
			t.Log(out)
		}
		if out, err := d.try(context.Background(), 2*time.Minute, "down", "-v", "-t", "5"); err != nil {
			t.Errorf("docker compose down: %v\n%s", err, out)
		}
	})
	start := time.Now()
	d.compose(2*time.Minute, "up", "--wait")
	t.Logf("up and healthy after %v", time.Since(start).Round(time.Millisecond))
	d.awaitConsumed(20)

	leaders, _ := d.partitions("1")
	if len(leaders) != 3 || slices.Contains(leaders, "none") {
		t.Fatalf("the leaders are %v", leaders)
	}
	victim, others := busiest(t, d, leaders)
	d.compose(time.Minute, "kill", "broker-"+victim)
	within(t, time.Minute, "other leaders and smaller in-sync sets are shown", func() bool {
		now, isrs := d.partitions(others[0])
		gone := len(now) == 3 && !slices.Contains(now, victim) && !slices.Contains(now, "none")
		for _, isr := range isrs {
			gone = gone && !slices.Contains(isr, victim)
		}
		return gone
	})
	if logs := d.compose(time.Minute, "logs", "--no-log-prefix", "broker-"+others[0], "broker-"+others[1]); !strings.Contains(logs, "dead="+victim) &&
		!regexp.MustCompile(`a broker does not answer, its leaderships move .*broker=`+victim+`\b`).MatchString(logs) {
		t.Errorf("no controller has said that broker %s is dead or does not answer", victim)
	}
	d.awaitConsumed(d.consumed() + 30)

	d.compose(time.Minute, "start", "broker-"+victim)
	within(t, time.Minute, "all replicas are in sync again", func() bool {
		_, isrs := d.partitions(victim)
		return len(isrs) == 3 && !slices.ContainsFunc(isrs, func(isr []string) bool { return len(isr) < 3 })
	})
	last := d.consumed()
	d.awaitConsumed(last + 50) // so that nothing up to last can still be on its way when the producer is stopped
	d.compose(time.Minute, "stop", "-t", "1", "producer")
	d.complete(others[0], last)
}

// busiest returns the leader of the partition with the most records, and the other brokers.
func busiest(t *testing.T, d *demo, leaders []string) (victim string, others []string) {
	t.Helper()
	most := -1
	for _, line := range offsetLines(t, d, "1") {
		if line.end > most {
			most, victim = line.end, leaders[line.partition]
		}
	}
	for _, id := range []string{"1", "2", "3"} {
		if id != victim {
			others = append(others, id)
		}
	}
	return victim, others
}

// offsetLine is where a partition ends.
type offsetLine struct{ partition, end int }

func offsetLines(t *testing.T, d *demo, id string) (out []offsetLine) {
	t.Helper()
	for line := range strings.Lines(mustTool(t, nil, "get-offsets", "--topic", "orders", "--bootstrap-server", d.from(id))) {
		var l offsetLine
		if _, err := fmt.Sscanf(line, "orders:%d:%d", &l.partition, &l.end); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, l)
	}
	return out
}

// complete reads the topic from the host and wants every order from 1 to last.
func (d *demo) complete(id string, last int) {
	d.t.Helper()
	total := 0
	for _, l := range offsetLines(d.t, d, id) {
		total += l.end
	}
	var out bytes.Buffer
	if code := toolTo(d.t, nil, &out, os.Stderr, "console-consumer", "--topic", "orders", "--from-beginning", "--max-messages", strconv.Itoa(total), "--timeout-ms", "30000",
		"--bootstrap-server", d.from(id)); code != 0 {
		d.t.Fatalf("the console consumer ended with %d", code)
	}
	times := map[int]int{}
	for _, m := range orderNumber.FindAllStringSubmatch(out.String(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			d.t.Fatal(err)
		}
		times[n]++
	}
	twice := 0
	for n := 1; n <= last; n++ {
		switch {
		case times[n] == 0:
			d.t.Errorf("order %d is lost", n)
		case times[n] > 1:
			twice++
		}
	}
	d.t.Logf("%d records, all orders from 1 to %d are there, %d of them more than once", total, last, twice)
}
