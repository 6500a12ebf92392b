package brokertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

// TestSingleFailuresInAnyOrder does to a cluster under load, from a seed, one evil after the other: brokers are killed, cut from power, stopped and
// cut from one another, sometimes two of these at a time as long as two replicas are left that see each other. Whatever comes, what was
// acknowledged is there afterwards, in order, and the replicas are the same.
//
// OTTLA_SEEDS is how many seeds to try, OTTLA_SEED a single one.
func TestSingleFailuresInAnyOrder(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	first := uint64(0)
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { torment(t, seed) })
		})
	}
}

func torment(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{
		"zookeeper.session.timeout.ms": "6000", "replica.lag.time.max.ms": "5000", "replica.socket.timeout.ms": "3000",
	}})
	cl := c.Client(t)
	replicated(t, cl, map[string]string{"min.insync.replicas": "2", "segment.bytes": "16384", "index.interval.bytes": "300"}, 1, 2, 0)
	o := observe(t, c)
	burst := 1
	if seed%3 == 1 {
		burst = 15 // after every failure many batches are waiting
	}
	w := bursts(t, cl, "r", burst, producer.BatchSize(512), producer.AdaptiveBatching(false))
	pause := func(most time.Duration) { <-time.After(time.Duration(rnd.Int64N(int64(most)))) }
	for range 8 {
		pause(3 * time.Second)
		victim := rnd.IntN(3)
		switch rnd.IntN(6) {
		case 0:
			t.Logf("kill %d", victim)
			c.Kill(t, victim)
			pause(12 * time.Second)
			again(t, c, victim)
		case 1:
			t.Logf("power cut of %d", victim)
			c.PowerCut(t, victim, vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom, Names: vfs.KeepRandom})
			pause(12 * time.Second)
			again(t, c, victim)
		case 2:
			t.Logf("restart %d", victim)
			c.Stop(t, victim)
			pause(3 * time.Second)
			again(t, c, victim)
		case 3:
			another := (victim + 1 + rnd.IntN(2)) % 3
			t.Logf("cut %d from %d", victim, another)
			cut(c, victim, another)
			pause(15 * time.Second)
			heal(c, victim, another)
		case 4:
			t.Logf("cut %d from ZooKeeper", victim)
			c.Network().Cut(host(victim), zookeeperHost)
			pause(12 * time.Second)
			c.Network().Heal(host(victim), zookeeperHost)
		case 5:
			t.Logf("isolate %d, then kill it", victim)
			cut(c, victim, (victim+1)%3, (victim+2)%3)
			pause(8 * time.Second)
			c.Kill(t, victim)
			heal(c, victim, (victim+1)%3, (victim+2)%3)
			pause(8 * time.Second)
			again(t, c, victim)
		}
		o.awaitISR(cluster.TopicPartition{Topic: "events"}, 0, 1, 2)
	}
	<-time.After(3 * time.Second)
	w.judge(cl)
	settled(t, c, events, 0, 1, 2)
}

// again starts a broker that is down. One that lost its session just before it stopped may have to wait until ZooKeeper has noticed.
func again(t *testing.T, c *Cluster, id int) {
	t.Helper()
	var err error
	for range 20 {
		if err = c.TryRestart(id); err == nil {
			return
		}
		<-time.After(time.Second)
	}
	t.Fatalf("start broker %d: %v", id, err)
}
