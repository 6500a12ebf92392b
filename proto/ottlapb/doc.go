// Package ottlapb is the Go code generated from proto/ottla/v1, package ottla.v1 of the protocol: every message and service is
// documented there and on the page docs/PROTOCOL.md. Regenerate with "make proto"; only this file is written by hand.
//
// The messages that carry record batches, ProduceRequest and FetchResponse, have a second form in package wire that does not
// copy the batches.
package ottlapb
