// Package producer writes records to topics.
//
//	p, err := producer.New(cl, producer.Linger(5*time.Millisecond), producer.Compression(record.Zstd))
//	res, err := p.Send(ctx, producer.Record{Topic: "orders", Key: k, Value: v})      // waits for the answer
//	err = p.SendAsync(ctx, producer.Record{Topic: "orders", Value: v}, callback)     // does not
//	err = p.Flush(ctx)
//	err = p.Close(ctx)
//
// # How a record travels
//
//	SendAsync ─► partition's open batch ─► partition's queue ─► sender of the leader ─► Produce stream ─► answer ─► callback
//	(caller)     (its own small lock)      (closed batches)     (one goroutine)         (its reader, one goroutine)
//
// The record is encoded straight into the open batch of its partition, in a pooled buffer that later goes to gRPC as it is. A batch is closed
// when it is full, or taken as it is when the leader's sender is free and [Linger] has passed. One sender per broker puts the batches
// of different partitions together into requests of up to [MaxRequestSize] and keeps up to [MaxInFlight] of them unanswered.
//
// # What is promised
//
// Records of one partition that are sent one after another are appended in that order, and callbacks come in it. With [Idempotence], the default,
// batches carry sequence numbers: up to five of a partition are on their way, and the leader recognises what it has already, so that a retry
// writes nothing twice. Without, a partition has only one unanswered batch at a time when there are retries: a batch that failed is sent again
// before any later one, and may be there twice. With Retries(0) nothing is ever sent again and batches of one partition follow each other without
// waiting.
//
// A batch succeeds or fails as a whole. Every accepted record gets exactly one outcome, at the latest when [DeliveryTimeout] has passed or
// [Producer.Close] returns. An error does not always mean that the record is not in the log: a lost connection, REQUEST_TIMED_OUT and
// NOT_ENOUGH_REPLICAS_AFTER_APPEND leave the outcome unknown. Idempotence settles it by a retry, until [DeliveryTimeout] ends that.
//
// Memory is bounded by [BufferMemory]; when it is used up, sending waits for up to [MaxBlock].
//
// # Batches that grow
//
// A batch that is not full waits while an earlier one is on the way. Meanwhile it, and the next ones, may grow beyond [BatchSize], up to
// [MaxRequestSize]: what would otherwise wait in many small batches leaves in few large ones. The size returns to BatchSize when the pressure is
// over, and stays there for topics whose broker refuses larger batches. [AdaptiveBatching] switches it off.
//
// # Goroutines
//
// A producer runs one housekeeper, at times one that asks for a producer id, and for every broker that leads a partition it writes to one sender
// and one reader of the stream. They end with [Producer.Close].
package producer
