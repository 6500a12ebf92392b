// Package compact decides what the cleaner does (F§4.11): which log to compact and how far, which segments become one, which
// records stay. It does nothing itself: no IO, no clock, no goroutines, no locks, no logging. Package commitlog brings the facts
// and carries the decisions out.
//
// # A log, as the cleaner sees it
//
//	log start          first dirty                  first uncleanable        end
//	    |   clean: at     |   dirty: not compared       |   not to be touched   |
//	    |   most one      |   with what is before       |   segments that are   |
//	    |   record a key  |                             |   active, too young,  |
//	    |                 |                             |   undecided, unsynced |
//
// A round reads the dirty part into an [OffsetMap], key by key, as far as that has room, and then copies everything from the log
// start to where the map ends, without the records for whose key the map knows a later offset. Offsets never change: batches
// keep their first and last offset whatever is taken out of them.
//
// # What stays
//
//   - Of each key the last record. A tombstone, a record without a value, stays until its delete horizon: the time of the
//     first round that copied it, and delete.retention.ms (KIP-534). Then a consumer that began to read before the tombstone
//     was written has had that long to see it.
//   - Nothing of an aborted transaction but its marker, which stays until no batch of the transaction is left and its horizon
//     has passed. The marker of a committed one likewise.
//   - The batch with the last sequence number of each producer that is remembered, even if it is empty then.
//   - The last batch of every segment that is written, likewise: so each segment ends where the next one begins, and a gap means
//     that something was lost. (Kafka does this for the last segment of a round only.)
package compact
