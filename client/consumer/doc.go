// Package consumer reads records from partitions that it is told to read (assignment by hand; groups are a matter of their own).
//
//	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
//	err = c.AssignTopics(ctx, "orders")
//	for rec, err := range c.Records(ctx) {
//		if err != nil { return err }
//		use(rec)
//	}
//
// # How a record travels
//
//	Fetch stream ─► reader (one per broker) ─► queue of answers ─► cursor ─► the caller's loop
//
// One Fetch stream per broker is the session: the broker remembers the partitions and where each is, and answers as many requests as the
// consumer has sent. An answer is one piece of memory; batches and records are slices of it, nothing is copied, and batches that are
// compressed are decompressed once. A further request is sent when an answer has been read to its end, so that a caller who does not read
// is sent no more: per broker at most [FetchMaxBytes] are held or on their way, plus one batch per answer that is larger by itself.
//
// # Positions
//
// Every partition has two: what is fetched next, and what the caller gets next ([Consumer.Position]). Seek, Pause and a new assignment bump
// the partition's generation, which makes everything that was fetched before stale. What is still on its way is recognised as stale because
// every answer belongs to one request, and the partition knows the request that declared its position last.
//
// # Goroutines
//
// A consumer runs one manager, which gives partitions to brokers and finds missing positions, and per broker a fetcher and a reader. They
// end with [Consumer.Close]. Records and Poll are for one goroutine at a time; everything else is safe for concurrent use.
package consumer
