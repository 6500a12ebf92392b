package brokertest

import (
	"errors"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/kerr"
)

// TestMinISRTakesEffectOnARunningLog changes it for the topic, for one broker, and for all. Beyond the number of replicas it asks for all of them.
func TestMinISRTakesEffectOnARunningLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 2, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 0)
		o := observe(t, c)
		check := func(when string, want error) {
			t.Helper()
			if err := sendOne(t, cl, events.Topic, 10); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		mustAlter(t, cl, topicResource, events.Topic, "min.insync.replicas=3")
		check("both in sync", nil)
		c.Stop(t, 0)
		o.awaitISR(events, 1)
		<-time.After(time.Second) // until the leader knows it too
		check("one in sync", kerr.NotEnoughReplicas)
		mustAlter(t, cl, topicResource, events.Topic, "min.insync.replicas!")
		check("without an override", nil)
		mustAlter(t, cl, brokerResource, "", "min.insync.replicas=2")
		check("2 for all brokers", kerr.NotEnoughReplicas)
		mustAlter(t, cl, brokerResource, "1", "min.insync.replicas=1")
		check("1 for the leader", nil)
		mustAlter(t, cl, brokerResource, "1", "min.insync.replicas!")
		check("again 2 for all brokers", kerr.NotEnoughReplicas)
		c.Restart(t, 0)
		o.awaitISR(events, 1, 0)
		<-time.After(time.Second)
		check("both in sync again", nil)
	})
}
