// Package sim simulates whole clusters, to find what no test of a single room finds: records that were acknowledged and are gone, two leaders in
// one epoch, copies that differ, partitions that never recover.
//
// The decisions are the real ones: controllers are [state.Machine] values, brokers consist of what broker/replica/state decides, epochs are kept
// by broker/epoch, orders are folded by controller/channel ([Rules] lists them). Everything else is a model: logs are lists of records, ZooKeeper
// is a map with fenced and conditional writes, sessions and ephemeral nodes, the network is a list of messages. There are no goroutines, and no
// clock but a counter: a run is one decision after the other, drawn from a seed, and the same seed gives the same story, byte for byte.
//
// # Faults
//
// Messages are delayed, reordered, lost and delivered twice, and what was given up arrives after what came later; nothing passes between two
// brokers in one direction. Brokers crash at any moment, some with the loss of a tail that was not flushed, and come back at once. One of a
// broker's two disks fails, and is repaired or replaced by an empty one when the broker starts again, or is not. Sessions expire, and who held
// them notices late; /controller is deleted; a deposed controller goes on until it finds out. Replies of ZooKeeper are lost, of writes that were
// made and of writes that were not. Records are deleted. Topics come and go under the same names, partitions are moved to other brokers, on
// request of an operator who may think better of it, brokers stop in good order, leaders are elected by hand, cleanly and uncleanly, and the
// controller is told that brokers do not answer, whether that is so or not. Each seed has some of this, in its own proportions.
//
// # Promises
//
// After each step: what is written to ZooKeeper obeys appendix C of the fact sheet; a deposed controller and an old order change nothing; whoever
// is in sync has everything that lay below any leader's high watermark (StrongIsr of the published TLA+ specifications), and so has whoever begins
// to lead; nobody cuts that off; logs are the same below the high watermark, which never falls within an epoch, and begin below it; what is
// acknowledged with acks=all is among it, on enough brokers. Who is in sync is assigned, and a replica that a reassignment removes is deleted when
// all of the target is in sync, not before. At the end the faults stop, and the cluster has to recover: leaders everywhere, all replicas in sync
// and the same, no leadership on a disk that has failed if another replica is in sync, and when the disks are repaired deletions ended, partitions
// where they were moved to last, requests answered, new records acknowledged.
//
// Two things are not promised. A replica that lost its tail in a power cut, or all it had with a disk, leads all the same if nobody else was in
// sync; so does one that was elected after its restart by a controller that had not noticed the restart, and did not live to notice. After an
// unclean election the history is what the new leader has. A broker that could not be reached when a reassignment took a replica from it keeps
// that (F§2.8, B5); an operator removes what is left of topics that were deleted since, before it can take part in topics of the same names.
//
// # Failures
//
// [Failure] tells the shortest schedule that still fails, step by step, and how to see it again. The tests plant some of the mistakes that Kafka
// has had, and some others, and demand that each is noticed.
package sim
