// Package record is the record batch, format version 2: the unit in which Ottla produces, stores, replicates and
// fetches. A producer builds a batch with a [Builder]; the leader checks it with [Validate] and sets base offset and
// leader epoch in place; the same bytes go to disk, to followers and to consumers, who read them with an [Iterator].
//
// A batch is a header of 61 bytes and a run of records. All numbers of the header are big-endian:
//
//	 0        8         12        16 17      21         23          27
//	+--------+---------+---------+--+-------+----------+-----------+
//	| base   | batch   | leader  |2 | crc   | attri-   | last off- |
//	| offset | length  | epoch   |  |       | butes    | set delta |
//	+--------+---------+---------+--+-------+----------+-----------+
//	 27              35             43            51      53       57       61
//	+---------------+--------------+-------------+-------+--------+--------+=========+
//	| base          | max          | producer id | prod. | base   | record | records |
//	| timestamp     | timestamp    |             | epoch | seq.   | count  | ...     |
//	+---------------+--------------+-------------+-------+--------+--------+=========+
//
// Batch length counts the bytes after itself. The CRC is CRC-32C over everything from the attributes (byte 21) to the
// end; base offset, length, leader epoch, magic and the CRC itself lie outside, which is what lets a leader number a
// batch without touching the producer's checksum. The attributes name a compression codec that applies to the records
// alone. A record holds zig-zag varints:
//
//	length | attributes i8 | timestamp delta | offset delta | key length, key | value length, value | headers
//
// The layout is Apache Kafka's, byte for byte (F§4.4, Kafka class DefaultRecordBatch, KIP-98), and nothing outside this
// package knows it.
//
// The package is pure: no clock, no logging, no IO, no goroutines. Nothing a peer puts into a batch makes it panic, and
// what a batch can make it allocate is bounded (see [Limits]). Three kinds of error leave it: [*CorruptError] from
// readers, [*kerr.Error] from Validate, and io.ErrUnexpectedEOF from Split when bytes are missing at the end.
package record
