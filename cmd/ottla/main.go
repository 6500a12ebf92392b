// Command ottla is the whole of Ottla in one binary: the broker, the coordination service, and the tools for topics, producers and
// consumers.
//
//	ottla quickstart                          a broker with everything it needs, in one process
//	ottla broker server.properties            a broker
//	ottla zookeeper zookeeper.properties      the coordination service
//	ottla topics --create --topic t --bootstrap-server localhost:9092
//
// The scripts of Kafka's distribution are thin wrappers around it, and it can be called by their names too: as a link named
// kafka-topics.sh it is "ottla topics". Flags, printed text and exit codes are those of Kafka's own tools.
//
// Each command is a file with a function run…(ctx, args, streams) int that touches nothing but its arguments, so that tests can call it;
// nothing but main ends the process.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
