// Package state is the pure core of a replica: what a broker that leads or follows a partition decides.
//
// Nothing here has a clock, goroutines, locks, IO, randomness or a log: what a decision depends on is handed in, and the same input gives the
// same decision. broker/replica is the shell that carries decisions out, controller/sim plays whole clusters of them with faults.
//
//   - [Fence] and [Judge] refuse the controller's orders that are out of date (F§2.10), [EpochCheck] and [Standing.Admit] requests (F§3.5).
//   - [Leadership] is a leader's account of its partition: how far every other replica has come ([Mark]), where the high watermark may stand
//     (F§3.4), and who is in sync ([Leadership.Change], [Leadership.Answered], F§2.12).
//   - [Outcome] says when a batch is acknowledged (F§3.6).
//   - [Pursuit] is a follower's account of what it copies, [ReactionTo] what it does about an answer, [Diverging], [TruncationPoint],
//     [Reconcile] and [SettleTail] where its log is to end (F§3.3, F§3.5).
package state
