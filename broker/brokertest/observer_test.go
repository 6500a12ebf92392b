package brokertest

import (
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/zk"
)

// observer looks at a cluster through ZooKeeper.
type observer struct {
	t *testing.T
	s *zk.Session
}

func observe(t *testing.T, c *Cluster) *observer {
	t.Helper()
	return &observer{t, look(t, c)}
}

// testLogger logs to the standard error if the environment asks for it.
func testLogger(t *testing.T) hclog.Logger {
	t.Helper()
	if os.Getenv("OTTLA_TEST_LOG") == "" {
		return nil
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(os.Getenv("OTTLA_TEST_LOG")), Output: os.Stderr})
}
