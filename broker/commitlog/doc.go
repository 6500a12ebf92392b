// Package commitlog stores partitions on disk: segments, indexes, checkpoints, and the directories that hold them. Names
// and bytes of all files are Apache Kafka's (F§4), so that Kafka's own tools read them.
//
// # What it promises
//
// A [Log] has one writer at a time and any number of readers. Readers never wait for the writer nor for the disk's
// write side: they look at an immutable list of segments and at sizes that are published after the bytes are there, so
// that half an append is never seen. What an append promises depends on flush.messages:
//
//   - By default an append is in the system's page cache when it returns; replication makes it durable. A power cut leaves
//     a prefix of what was appended, cut at a batch boundary, without holes and without foreign bytes.
//   - With flush.messages=1 an append is on disk when it returns. Concurrent appenders share one fsync.
//
// An append that fails leaves the log fenced: garbage may be behind the last good batch, and nothing may be written after
// it. An fsync that fails is never repeated, because the second one proves nothing. In both cases the whole log directory
// goes offline (KIP-112) until the broker is started again and recovery has looked at every byte that was not known to
// be safe. Only a disk that is full before a byte was written merely refuses.
//
// # What it assumes of the disk
//
// The contract of package vfs: bytes, sizes and names may be lost, in part and in any order, until they are synced.
// Indexes are a cache. They are trusted only when they were synced after their last change, that is in segments that were
// sealed before the recovery point; everything later is scanned after an unclean stop, batch by batch with its checksum, and
// its indexes are built again. Nothing is memory-mapped, so that a damaged file is an error and not a signal.
//
// # Recovery
//
// After a stop without the marker .kafka_cleanshutdown, all segments from the recovery point on are scanned. The first
// batch that is torn, damaged, or does not continue the one before ends the log: the segment is cut there and the later
// ones are removed (F§4.9). A hole between two segments also ends it, because only an unsynced segment that lost its
// tail leaves one; segments roll at the log end offset, so their bases follow each other without gaps, except where the
// cleaner took records away. For that the cleaner may touch only segments below the checkpointed recovery point.
//
// # Damage
//
// Every batch that is read is checked. One that is not what was written is an error for the reader, and the segment's damage is told to the owner
// (ManagerConfig.OnDamage), who repairs it with what another replica has ([Repair]); nothing is ever taken away because of it. Indexes are believed only where the batch that
// they point to agrees.
//
// # Producers
//
// Every log remembers its idempotent and transactional producers, so that a retry is answered and not appended again, and so
// that read_committed consumers stop in time; package producers decides. That state is a function of the log's batches. It is
// rebuilt from the newest snapshot and what follows it: after a stop, and after a truncation. What was remembered is never
// trusted beyond the batches that are there, see snapshot.go.
//
// # Who owns what
//
// [Manager] owns the log directories, their locks, checkpoints and background loops. A Log belongs to the manager; the
// append lock of a log is the only lock in this package that is held over IO.
package commitlog
