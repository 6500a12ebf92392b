// Package client is the core of the Go client: the way to a cluster. It bootstraps over several addresses, keeps connections to the
// brokers, knows who leads what, repeats what may be repeated, and turns answers into typed errors. Producers, consumers and the admin
// client stand on it:
//
//	cl, err := client.Dial(ctx, "broker1:9092,broker2:9092", client.ClientID("billing"))
//	p, err := producer.New(cl)        // client/producer
//	c, err := consumer.New(cl)        // client/consumer
//	a := admin.New(cl)                // client/admin
//
// One [Client] serves any number of them. It keeps three connections per broker apart, one for produce streams, one for fetch streams
// and one for everything else, so that bulk never delays metadata or heartbeats (see [Lane]).
//
// # Errors
//
// A failed operation returns an [*Error] that says what was being done and where. errors.Is works against the codes of package kerr,
// [Retriable] tells whether trying again can help, and [ErrClosed] and the context's own errors come through as they are. Inside the
// library whatever is retriable is repeated with a growing, jittered back-off until the context ends or the operation's own time is over;
// what the caller gets is the last error, with the time in front of it.
//
// # Goroutines
//
// A Client runs one goroutine, the metadata refresher, from [Dial] to [Client.Close]. gRPC runs its own per connection. All methods are
// safe for concurrent use. Nothing is global.
package client
