package brokertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/zk/znode"
)

// producerID asks a broker for a producer id, until it has one.
func producerID(t *testing.T, cl *client.Client, broker int) int64 {
	t.Helper()
	var id int64
	err := cl.Do(t.Context(), client.OnBroker(cluster.BrokerID(broker)), "init producer id", func(ctx context.Context, api *client.API) error {
		res, err := api.Transactions.InitProducerId(ctx, &ottlapb.InitProducerIdRequest{})
		if err != nil {
			return err
		}
		if res.ProducerEpoch != 0 && res.ErrorCode == 0 {
			return fmt.Errorf("epoch %d", res.ProducerEpoch)
		}
		id = res.ProducerId
		return kerr.Code(res.ErrorCode).Err()
	})
	if err != nil {
		t.Fatalf("producer id of broker %d: %v", broker, err)
	}
	return id
}

// TestProducerIDsAreNeverGivenTwice asks all brokers, which come, go and lose their sessions meanwhile.
func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		seen := map[int64]bool{}
		ask := func(n int, brokers ...int) {
			t.Helper()
			for range n {
				for _, b := range brokers {
					id := producerID(t, cl, b)
					if seen[id] || id < 0 {
						t.Fatalf("broker %d gave id %d, again", b, id)
					}
					seen[id] = true
				}
			}
		}
		ask(1, 0, 1, 2)
		data, _, err := look(t, c).Get(t.Context(), znode.LatestProducerIDBlock)
		if err != nil || string(data) != `{"version":1,"broker":2,"block_start":"2000","block_end":"2999"}` {
			t.Errorf("the last of the first blocks is %s, %v", data, err)
		}
		ask(1001, 0)
		ask(150, 1, 2)
		c.Kill(t, 0)
		c.Restart(t, 0)
		ask(10, 0, 1)
		c.Network().Cut("broker-1", zookeeperHost)
		ask(830, 1) // what it has left of its block
		<-time.After(time.Minute)
		c.Network().Heal("broker-1", zookeeperHost)
		c.StopZooKeeper(t)
		c.StartZooKeeper(t)
		ask(500, 1, 2)
	})
}

// TestProducerIDsWithoutZooKeeper wants those that the broker has left, and then an answer that clients repeat rather than none.
func TestProducerIDsWithoutZooKeeper(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"zookeeper.session.timeout.ms": "60000"}})
		cl := c.Client(t, client.APITimeout(10*time.Second))
		c.StopZooKeeper(t)
		for range znode.ProducerIDBlockSize {
			producerID(t, cl, 0)
		}
		answered := kerr.None
		err := cl.Do(t.Context(), client.AnyBroker, "init producer id", func(ctx context.Context, api *client.API) error {
			res, err := api.Transactions.InitProducerId(ctx, &ottlapb.InitProducerIdRequest{})
			if err != nil {
				return err
			}
			answered = kerr.Code(res.ErrorCode)
			return answered.Err()
		})
		if err == nil || answered != kerr.CoordinatorLoadInProgress {
			t.Errorf("the broker answered %v, and in the end %v", answered, err)
		}
		c.StartZooKeeper(t)
		producerID(t, cl, 0)
	})
}
