package main

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/zk"
)

// zooKeeperTimeout is how long the tools wait for ZooKeeper, and the timeout of their session.
const zooKeeperTimeout = 30 * time.Second

// zooKeeperIsOld is what tools print that may be given a broker instead of ZooKeeper.
const zooKeeperIsOld = "Warning: --zookeeper is deprecated and will be removed in a future version of Kafka.\nUse --bootstrap-server instead to specify a broker to connect to.\n"

// openZooKeeper connects a tool to ZooKeeper.
func openZooKeeper(ctx context.Context, connect string, log hclog.Logger) (*zk.Client, error) {
	return zk.Open(ctx, zk.Config{Connect: connect, SessionTimeout: zooKeeperTimeout, ConnectTimeout: zooKeeperTimeout, Logger: log})
}

// closeZooKeeper ends a tool's session; it ends by itself if that fails.
func closeZooKeeper(c *zk.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}
