package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/cmd/ottla/internal/kafkalog"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/zk/embedded"
)

// quickstart is a broker and the coordination service that it needs in one process, for trying things out.
type quickstart struct {
	dir       string
	port      string // of the broker
	zkPort    string
	overrides []string
	std       streams
	started   time.Time
}

// runQuickstart starts everything, says where it is and what to type next, and stops on a signal.
func runQuickstart(ctx context.Context, args []string, std streams) int {
	set := flags.New("Runs a broker with an embedded ZooKeeper in one process, reachable from this machine only.")
	dir := set.Value("data-dir", flags.String, "directory", "Where everything is kept.").Default(filepath.Join(os.TempDir(), "ottla"))
	port := set.Value("port", flags.Integer, "port", "The port of the broker; 0 for any that is free.").Default("9092")
	zkPort := set.Value("zookeeper-port", flags.Integer, "port", "The port of ZooKeeper; 0 for any that is free.").Default("2181")
	override := set.Value("override", flags.String, "name=value", "A setting of the broker.").Many()
	if err := set.Parse(args); err != nil {
		return usageError(set, err, std)
	}
	switch {
	case set.Given("help"):
		set.PrintUsage(std.err, "")
		return 1
	case set.Given("version"):
		return runVersion(ctx, nil, std)
	}
	q := &quickstart{dir: dir.Text(), port: port.Text(), zkPort: zkPort.Text(), overrides: override.Texts(), std: std, started: time.Now()}
	if err := q.run(ctx); err != nil {
		fmt.Fprintf(std.err, "ottla quickstart: %v\n", err)
		return 1
	}
	return 0
}

// run is the life of the process.
func (q *quickstart) run(ctx context.Context) error {
	release, err := q.lock()
	if err != nil {
		return err
	}
	defer release()
	files, err := kafkalog.OpenFiles(filepath.Join(q.dir, "logs"), io.Discard, time.Now())
	if err != nil {
		return err
	}
	defer files.Close()
	log := kafkalog.NewServer(kafkalog.Tee(files, kafkalog.Above(hclog.Warn, kafkalog.Stream(q.std.err))), hclog.Info, time.Now)

	z, err := q.startZooKeeper(log)
	if err != nil {
		return err
	}
	defer z.Close()
	_, zkPort, err := net.SplitHostPort(z.Addr().String())
	if err != nil {
		return fmt.Errorf("read the port of ZooKeeper: %w", err)
	}
	settings, err := q.settings(zkPort, log)
	if err != nil {
		return err
	}
	b, err := broker.Start(ctx, broker.Config{Settings: settings, HostName: "localhost", Logger: log})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return q.remedy(err)
	}
	q.announce(b, zkPort)
	select {
	case <-ctx.Done():
		fmt.Fprintln(q.std.out, "\nStopping.")
		logSignal(ctx, log)
	case <-b.Done():
	case <-z.Done():
		log.Error("ZooKeeper stopped", "error", z.Err())
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(b.Err(), z.Err(), b.Close(stop))
}

// lock makes the data directory this process's own.
func (q *quickstart) lock() (release func(), err error) {
	if err := os.MkdirAll(q.dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot create the data directory %s: %w; choose another with --data-dir", q.dir, errors.Unwrap(err))
	}
	name := filepath.Join(q.dir, "quickstart.lock")
	l, err := vfs.OS.Lock(name)
	switch {
	case errors.Is(err, vfs.ErrLocked):
		who := "another process"
		if pid, err := os.ReadFile(filepath.Join(q.dir, "quickstart.pid")); err == nil {
			who = "process " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("a quick start is running in %s already (%s); use that one, or stop it, or choose another directory with --data-dir", q.dir, who)
	case err != nil:
		return nil, fmt.Errorf("cannot write to the data directory %s: %w; choose another with --data-dir", q.dir, err)
	}
	pid := filepath.Join(q.dir, "quickstart.pid")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("cannot write to the data directory %s: %w; choose another with --data-dir", q.dir, err)
	}
	return func() {
		_ = os.Remove(pid) // only a hint for the message above
		_ = l.Close()
	}, nil
}

// startZooKeeper starts the coordination service.
func (q *quickstart) startZooKeeper(log *kafkalog.Logger) (*embedded.Server, error) {
	z, err := embedded.Start(embedded.Config{
		DataDir: filepath.Join(q.dir, "zookeeper"), Addr: net.JoinHostPort("localhost", q.zkPort), MaxClientCnxns: -1,
		Logger: log.ResetNamed("org.apache.zookeeper.server.ZooKeeperServer"),
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %s is taken by another process, perhaps a ZooKeeper; stop it, or choose another port with --zookeeper-port", q.zkPort)
	}
	if err != nil {
		return nil, fmt.Errorf("start ZooKeeper: %w", err)
	}
	return z, nil
}

// settings are those of the sample server.properties, as far as they differ from the defaults.
func (q *quickstart) settings(zkPort string, log hclog.Logger) (*config.Server, error) {
	given := config.Properties{
		"broker.id":                        "0",
		"listeners":                        "PLAINTEXT://localhost:" + q.port,
		"log.dirs":                         filepath.Join(q.dir, "kafka-logs"),
		"zookeeper.connect":                "localhost:" + zkPort,
		"offsets.topic.replication.factor": "1",
		"transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr":            "1",
		"group.initial.rebalance.delay.ms":         "0",
	}
	over, err := config.ParseOverrides(q.overrides)
	if err != nil {
		return nil, err
	}
	for k, v := range over {
		given[k] = v
	}
	settings, warnings, err := config.NewServer(given)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		if w.Severity == config.Warn {
			log.Warn(w.Text)
		}
	}
	return settings, nil
}

// remedy words a failure of the broker's start for somebody who has not written its settings.
func (q *quickstart) remedy(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "the port is taken") {
		return fmt.Errorf("port %s is taken by another process, perhaps a broker; stop it, or choose another port with --port", q.port)
	}
	return err
}

// announce says where everything is.
func (q *quickstart) announce(b *broker.Broker, zkPort string) {
	server := b.Endpoints()[0].Addr()
	tool := commandPrefix()
	fmt.Fprintf(q.std.out, `Ottla %s is ready after %d ms.

  broker      %s (id %d)
  ZooKeeper   localhost:%s (embedded)
  data        %s
  log         %s

Type this in another terminal:

  %s
  %s
  %s

Ctrl-C stops everything; the data stays.
`, versionName(), time.Since(q.started).Milliseconds(), server, b.ID(), zkPort, q.dir, filepath.Join(q.dir, "logs", "server.log"),
		tool("topics", "--create --topic quickstart-events --bootstrap-server "+server),
		tool("console-producer", "--topic quickstart-events --bootstrap-server "+server),
		tool("console-consumer", "--topic quickstart-events --from-beginning --bootstrap-server "+server))
}

// commandPrefix returns how to write a command so that it works from the present directory: with the scripts that lie beside this binary's directory, or
// else with the binary.
func commandPrefix() func(command, options string) string {
	self, err := os.Executable()
	if err != nil {
		self = "ottla"
	}
	here, err := os.Getwd()
	short := func(path string) string {
		if rel, relErr := filepath.Rel(here, path); err == nil && relErr == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
		return path
	}
	scripts := filepath.Join(filepath.Dir(filepath.Dir(self)), "scripts")
	if _, err := os.Stat(filepath.Join(scripts, "kafka-topics.sh")); err == nil {
		return func(command, options string) string { return short(scripts) + "/kafka-" + command + ".sh " + options }
	}
	return func(command, options string) string { return short(self) + " " + command + " " + options }
}
