package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/zk/embedded"
)

// exitInvalidInvocation is the exit code of ZooKeeper's own main class when it is called in a wrong way.
const exitInvalidInvocation = 2

// runZooKeeper runs the coordination service with a zookeeper.properties, or with a port and a data directory as ZooKeeper's own main class can.
func runZooKeeper(ctx context.Context, args []string, std streams) int {
	if len(args) == 0 || args[0] == "--help" {
		fmt.Fprintln(std.err, "USAGE: ottla zookeeper zookeeper.properties | port datadir")
		return 1
	}
	log, closeLog := serverLog(std.out)
	defer closeLog()
	zlog := log.ResetNamed("org.apache.zookeeper.server.ZooKeeperServerMain")
	cfg, err := zooKeeperConfig(args, zlog)
	if err != nil {
		zlog.Error("Invalid config, exiting abnormally", "error", err)
		return exitInvalidInvocation
	}
	cfg.Logger = zlog
	s, err := startZooKeeper(cfg)
	if err != nil {
		zlog.Error("Unexpected exception, exiting abnormally", "error", err)
		return 1
	}
	select {
	case <-ctx.Done():
		logSignal(ctx, log)
	case <-s.Done():
	}
	if err := errors.Join(s.Err(), s.Close()); err != nil {
		zlog.Error("stopped with an error", "error", err)
		return 1
	}
	return 0
}

// zooKeeperConfig reads the arguments, the file that they name, and the Java system properties in SERVER_JVMFLAGS and KAFKA_OPTS.
func zooKeeperConfig(args []string, log hclog.Logger) (embedded.Config, error) {
	var cfg embedded.Config
	var warnings []string
	switch len(args) {
	case 1:
		text, err := os.ReadFile(args[0])
		if err != nil {
			return cfg, fmt.Errorf("read %s: %w", args[0], errors.Unwrap(err))
		}
		if cfg, warnings, err = embedded.ParseProperties(text); err != nil {
			return cfg, fmt.Errorf("%s: %w", args[0], err)
		}
	case 2:
		port, err := strconv.ParseUint(args[0], 10, 16)
		if err != nil {
			return cfg, fmt.Errorf("%s is not a port", args[0])
		}
		cfg.Addr, cfg.DataDir = fmt.Sprintf(":%d", port), args[1]
	default:
		return cfg, errors.New("expected zookeeper.properties, or a port and a data directory")
	}
	more, err := cfg.ApplyJVMFlags(os.Getenv("SERVER_JVMFLAGS") + " " + os.Getenv("KAFKA_OPTS"))
	if err != nil {
		return cfg, err
	}
	for _, w := range append(warnings, more...) {
		log.Warn(w)
	}
	return cfg, nil
}

// startZooKeeper starts the embedded server. Errors say what would help.
func startZooKeeper(cfg embedded.Config) (*embedded.Server, error) {
	s, err := embedded.Start(cfg)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("ZooKeeper cannot listen on %s: the port is taken by another process; stop that process or choose another port (clientPort)", shownAddr(cfg.Addr))
	case errors.Is(err, vfs.ErrLocked):
		return nil, fmt.Errorf("the data directory %s of ZooKeeper is in use by another process; stop that process or choose another directory (dataDir)", cfg.DataDir)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("ZooKeeper cannot write to %s: %w; choose another directory (dataDir)", cfg.DataDir, err)
	}
	return nil, fmt.Errorf("start ZooKeeper: %w", err)
}

// shownAddr shows an address without a host as one on every interface.
func shownAddr(addr string) string {
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" {
		return "port " + port
	}
	return strings.TrimPrefix(addr, "tcp://")
}
