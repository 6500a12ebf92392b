package embedded_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/zk/embedded"
)

// serverEnv makes the test binary a server process: its arguments are then those of zkServer.sh.
const serverEnv = "OTTLA_TEST_ZOOKEEPER_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		if err := serve(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve runs a server from a configuration file until it fails or the process is killed.
func serve(args []string) error {
	if len(args) != 2 || args[0] != "start-foreground" {
		return fmt.Errorf("usage: start-foreground <zoo.cfg>, got %q", args)
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	cfg, _, err := embedded.ParseProperties(text)
	if err != nil {
		return err
	}
	if _, err := cfg.ApplyJVMFlags(os.Getenv("SERVER_JVMFLAGS")); err != nil {
		return err
	}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: "zookeeper", Output: os.Stderr})
	s, err := embedded.Start(cfg)
	if err != nil {
		return err
	}
	<-s.Done()
	return s.Err()
}
