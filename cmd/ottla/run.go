package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// streams are the standard streams of a command.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// command is one thing that ottla can do.
type command struct {
	// name is the word behind ottla.
	name string
	// aliases are other names: of the script of Kafka that does the same, without .sh, and of the classes that such scripts run.
	aliases []string
	// about says what the command does, in a line.
	about string
	// run does it. The result is the exit code. ctx ends on SIGINT, SIGTERM and SIGHUP.
	run func(ctx context.Context, args []string, std streams) int
}

// commands returns all commands in the order in which they are listed.
func commands() []command {
	return []command{
		{"quickstart", []string{"run"}, "Run a broker and what it needs in one process.", runQuickstart},
		{"broker", []string{"kafka.Kafka"}, "Run a broker.", runBroker},
		{"zookeeper", []string{"org.apache.zookeeper.server.quorum.QuorumPeerMain"}, "Run the coordination service.", runZooKeeper},
		{"stop", nil, "Stop the brokers, or the coordination service, of this machine.", runStop},
		{"topics", []string{"kafka-topics", "kafka.admin.TopicCommand", "org.apache.kafka.tools.TopicCommand"}, "Create, list, describe, alter and delete topics.", runTopics},
		{"console-producer", []string{"kafka-console-producer", "kafka.tools.ConsoleProducer", "org.apache.kafka.tools.ConsoleProducer"}, "Send the lines of standard input to a topic.", runConsoleProducer},
		{"console-consumer", []string{"kafka-console-consumer", "kafka.tools.ConsoleConsumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"}, "Print the records of a topic.", runConsoleConsumer},
		{"get-offsets", []string{"kafka-get-offsets", "kafka.tools.GetOffsetShell", "org.apache.kafka.tools.GetOffsetShell"}, "Print the offsets of partitions.", runGetOffsets},
		{"configs", []string{"kafka-configs", "kafka.admin.ConfigCommand"}, "Show and change the settings of topics and brokers.", runConfigs},
		{"reassign-partitions", []string{"kafka-reassign-partitions", "kafka.admin.ReassignPartitionsCommand", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"}, "Move partitions between brokers.", runReassign},
		{"leader-election", []string{"kafka-leader-election", "kafka.admin.LeaderElectionCommand", "org.apache.kafka.tools.LeaderElectionCommand"}, "Elect preferred leaders, or unclean ones.", runLeaderElection},
		{"preferred-replica-election", []string{"kafka-preferred-replica-election", "kafka.admin.PreferredReplicaLeaderElectionCommand"}, "Elect preferred leaders, the old way.", runPreferredElection},
		{"cluster", []string{"kafka-cluster", "kafka.tools.ClusterTool", "org.apache.kafka.tools.ClusterTool"}, "Print the id of a cluster.", runCluster},
		{"delete-records", []string{"kafka-delete-records", "kafka.admin.DeleteRecordsCommand", "org.apache.kafka.tools.DeleteRecordsCommand"}, "Delete the oldest records of partitions.", runDeleteRecords},
		{"log-dirs", []string{"kafka-log-dirs", "kafka.admin.LogDirsCommand", "org.apache.kafka.tools.LogDirsCommand"}, "Show what lies in the log directories of brokers.", runLogDirs},
		{"producer-perf-test", []string{"kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"}, "Measure how fast records are written.", runProducerPerf},
		{"consumer-perf-test", []string{"kafka-consumer-perf-test", "kafka.tools.ConsumerPerformance", "org.apache.kafka.tools.ConsumerPerformance"}, "Measure how fast records are read.", runConsumerPerf},
		{"verifiable-producer", []string{"kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"}, "Write numbers and tell as JSON what became of each.", runVerifiableProducer},
		{"verifiable-consumer", []string{"kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"}, "Read a topic and tell as JSON what comes.", runVerifiableConsumer},
		{"dump-log", []string{"kafka-dump-log", "kafka.tools.DumpLogSegments"}, "Print what is in the files of a log.", runDumpLog},
		{"zookeeper-shell", []string{"org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka", "org.apache.zookeeper.ZooKeeperMain"}, "Look at and change what ZooKeeper keeps.", runZooKeeperShell},
		{"healthcheck", nil, "Ask a broker whether it is ready.", runHealthcheck},
		{"config", nil, "Check a server.properties, or print every setting and where it comes from.", runConfig},
		{"version", nil, "Print the version.", runVersion},
	}
}

// run is the program: args[0] is the name it was called by. The result is the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// Without this a closed pipe on standard output would kill the process before a consumer could close and say so.
	signal.Ignore(syscall.SIGPIPE)

	std := streams{stdin, stdout, stderr}
	name, rest := "", []string(nil)
	if len(args) > 0 {
		name, rest = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(args[0]), ".exe"), ".sh"), args[1:]
	}
	c := find(name)
	if c == nil {
		if len(rest) == 0 {
			listCommands(stdout)
			return 0
		}
		name, rest = rest[0], rest[1:]
		switch name {
		case "help", "-h", "-help", "--help":
			if len(rest) > 0 && find(rest[0]) != nil {
				return find(rest[0]).run(ctx, []string{"--help"}, std)
			}
			listCommands(stdout)
			return 0
		case "--version", "-version":
			name = "version"
		}
		if c = find(strings.TrimSuffix(name, ".sh")); c == nil {
			fmt.Fprintf(stderr, "ottla: unknown command %q; \"ottla help\" lists the commands\n", name)
			return 1
		}
	}
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, signals...)
	defer stop()
	// A second signal ends the process at once. One that comes with the first does not count: timeout(1) signals the process and then its group.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	return c.run(ctx, rest, std)
}

// find returns the command of this name, or of this name of a script; nil when there is none.
func find(name string) *command {
	all := commands()
	for i, c := range all {
		if c.name == name {
			return &all[i]
		}
		for _, s := range c.aliases {
			if s == name {
				return &all[i]
			}
		}
	}
	return nil
}

// listCommands prints what ottla can do.
func listCommands(w io.Writer) {
	fmt.Fprintf(w, "Ottla %s: classic Kafka in Go, coordinated by ZooKeeper, over gRPC.\n\nUsage: ottla <command> [options]\n\n", versionName())
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-26s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\n\"ottla help <command>\" shows a command's options.\n")
}
