package main

import (
	"context"
	"fmt"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/config"
)

// clusterUsage is the line that says how kafka-cluster is called.
const clusterUsage = "usage: kafka-cluster [-h] {cluster-id,unregister} ...\n"

// clusterHelp is the explanation below it.
const clusterHelp = `
The Kafka cluster tool.

positional arguments:
  cluster-id --bootstrap-server SERVERS [--config FILE]
                         Get information about the ID of a cluster.
  unregister --bootstrap-server SERVERS --id ID [--config FILE]
                         Unregister a broker.
`

// runCluster is kafka-cluster (F§7.16).
func runCluster(ctx context.Context, args []string, std streams) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(std.out, clusterUsage, clusterHelp)
		return 0
	}
	action := args[0]
	a := arguments{
		program: "kafka-cluster", usage: clusterUsage, help: clusterHelp,
		values: []string{"--bootstrap-server", "--config"}, required: []string{"--bootstrap-server"},
	}
	switch action {
	case "cluster-id":
	case "unregister":
		a.values, a.required = append(a.values, "--id"), append(a.required, "--id")
	default:
		fmt.Fprintf(std.err, "%skafka-cluster: error: argument command: invalid choice: '%s' (choose from 'cluster-id', 'unregister')\n", clusterUsage, action)
		return 1
	}
	options := make([]string, len(args)-1)
	for i, arg := range args[1:] {
		options[i] = arg
		if long, ok := map[string]string{"-b": "--bootstrap-server", "-c": "--config", "-i": "--id"}[arg]; ok {
			options[i] = long
		}
	}
	if len(options) == 0 {
		options = []string{"--config="} // so that what is missing is named
	}
	return a.run(ctx, options, std, func(given givenArguments) (func() error, error) {
		return func() error { return clusterAction(ctx, action, given, std) }, nil
	})
}

// clusterAction carries out one of the actions.
func clusterAction(ctx context.Context, action string, given givenArguments, std streams) error {
	properties := config.Properties{}
	if file := given.text("--config"); file != "" {
		var err error
		if properties, err = config.ReadProperties(file); err != nil {
			return err
		}
	}
	cl, _, err := dialWith(ctx, given.text("--bootstrap-server"), properties, "adminclient-1", toolLogger(std.err, "org.apache.kafka.tools.ClusterTool"))
	if err != nil {
		return err
	}
	defer cl.Close()
	c, err := admin.New(cl).DescribeCluster(ctx)
	switch {
	case err != nil:
		return err
	case action == "unregister": // of brokers that a quorum of controllers remembers; ZooKeeper forgets them by itself
		fmt.Fprintln(std.out, "The target cluster does not support the broker unregistration API.")
	case c.ID == "":
		fmt.Fprintln(std.out, "No cluster ID found. The Kafka version is probably too old.")
	default:
		fmt.Fprintf(std.out, "Cluster ID: %s\n", c.ID)
	}
	return nil
}
