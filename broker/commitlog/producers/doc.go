// Package producers knows what a partition must remember of its idempotent and transactional producers: which batches it has
// already, so that a retry is not appended twice (KIP-98, F§4.12), and which transactions are undecided, so that read_committed
// consumers stop before them (F§4.13). It also knows the bytes of the two files in which that outlives a restart.
//
// The package decides and does nothing else: no IO, no clock, no goroutines, no locks, no logging. Package commitlog asks
// [State.Check] before it writes a batch, tells [State.Apply] after, and keeps the files.
//
// # State follows the log
//
// A [State] is a function of the batches below some offset, in the order of the log, and of nothing else except expiry. So a
// follower that copies the batches has the state that the leader has, and whoever becomes leader recognises the retries of
// batches that its predecessor appended. The file <offset>.snapshot holds the state below offset, but of each producer only
// the last batch; after a reload, older duplicates are recognised only if they lie in the part of the log that is replayed.
//
// # One producer id in one partition
//
//	            first batch or marker, any sequence
//	unknown ─────────────────────────────────────────▶ known, epoch e
//	   ▲                                                │   ▲
//	   │ expired (never while a transaction is open)    │   │ data: e, next sequence
//	   └────────────────────────────────────────────────┤   │ data: higher epoch, sequence 0; older batches forgotten
//	                                                    │   │ marker: e; or higher, older batches forgotten
//	                                                    └───┘
//
//	no transaction ── transactional data ──▶ open since its first offset ── marker ──▶ completed at the marker's offset
//
// A completed transaction still holds back the last stable offset until its marker is below the high watermark: before that, a
// change of leader could take the marker away again.
package producers
