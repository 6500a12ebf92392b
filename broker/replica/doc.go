// Package replica is what a broker does with the partitions it holds: it leads them or follows another broker.
//
// A [Manager] takes the controller's orders (LeaderAndIsr, UpdateMetadata, StopReplica), refuses those that are out of date
// (F§2.10), and hands out [Partition] values. A partition that leads appends batches, keeps account of how far every other replica
// has fetched, and moves the high watermark; one that follows serves nobody but consumers that ask for the nearest replica.
//
// # The arithmetic
//
// What is to be decided is decided by broker/replica/state, without clock, lock or disk: which orders are out of date, how far every other
// replica has come, where the high watermark may stand and who is in sync (F§3.4), where a copy is to be cut (F§3.5). Manager, Partition, fetcher
// and alterer are the shell around it: they hold the locks, read the clock, call the log and the other brokers.
//
// # Promises
//
//   - A batch is appended under exactly one leader epoch, and none is begun after the broker learned of a later one. What is under way then counts as
//     having come before: it is not acknowledged, and the new role changes the log only when it has ended.
//   - The high watermark never falls while a partition leads, never exceeds the log end, and never lies below the log's start.
//   - A follower's log is cut only where the leader of its epoch says that histories part. The high watermark decides only for logs without any
//     leader epoch, which brokers of this kind do not write (KIP-101).
//   - An acknowledgement for acks=all is given only while the leadership that appended the batch has not been interrupted.
//   - An order with an epoch that is too old changes nothing.
//
// # Damage
//
// A log that reads a batch which is not what was written says so, and the repairer takes what is missing from other replicas, as a consumer would read it
// ([commitlog.Repair]). What is replicated is the same everywhere, so that needs no order and changes no role; the high watermark must only have passed it. Until
// then readers are answered with KAFKA_STORAGE_ERROR, which makes them ask again, and with CORRUPT_MESSAGE when nobody who lives has it.
//
// # Waiting
//
// There is no purgatory. Whoever waits for a watermark, a fetch or a produce request, has a goroutine already: it registers a [Signal]
// with the partitions of interest, looks, and selects on the signal, a timer and its context.
//
// # Locks
//
// Downward: Manager.orders, then Partition.mu, then the log's own, and alterer.mu and repairer.mu; after Manager.orders also
// fetchers.mu, then fetcher.mu. orders is held over the disk IO of creating and deleting logs, as the
// log's append lock is over its own: it orders the changes of one broker's roles. mu is held for arithmetic only. The gate of a partition is no lock: a change
// of role does not wait for who is inside.
package replica
