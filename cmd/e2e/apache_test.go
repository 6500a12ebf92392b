package e2e

import (
	"testing"

	"github.com/ottla/ottla/zk/zktest/apachezk"
)

// apacheZooKeeper starts Apache's server and returns its address; without Java or ZooKeeper the test is skipped, or fails where they are
// required.
func apacheZooKeeper(t *testing.T) string {
	t.Helper()
	return apachezk.Start(t)
}
