// Package server is the broker's front: it speaks ottla.v1 over gRPC and calls the rooms that do the work. There is one file for each
// call, named after it: decode, check, call, encode.
//
// # What an answer is
//
// Outcomes per partition, topic or record are Kafka's error codes inside an answer whose gRPC status is OK. The status is for
// requests that cannot be understood (INVALID_ARGUMENT), calls that the caller must not make (PERMISSION_DENIED), a broker that is
// going away (UNAVAILABLE, always before any effect) and bugs (INTERNAL, with the stack in the log). status.go is the only place that
// names one.
//
// # Produce and Fetch
//
// A Produce stream appends in the goroutine that receives and answers, in order, in the handler's; a request that needs no waiting
// while nothing waits before it is answered at once by the receiver. A Fetch stream is a session: it remembers partitions and positions,
// answers each request once, and waits by selecting on a [replica.Signal] that its partitions wake.
//
// # What a peer can make the broker hold
//
// Everything is bounded by [Limits]: received batches and answers under way by two budgets for the whole process, requests per stream
// by a window, a reader that does not read by a deadline after which its connection is closed, and the entries of every list.
//
// # Goroutines
//
// Handlers run in gRPC's goroutines. Produce and Fetch start one more each, which receives; it ends when the handler does, because that
// ends the stream's context. [Server.Close] waits for all of them. A [Listener] runs one accept loop and one short-lived goroutine for
// each connection that has not shown its protocol yet.
package server
