package dump

import (
	"fmt"
	"strings"

	"github.com/ottla/ottla/proto/record"
)

// Versions of the values of __transaction_state.
const (
	lastTxnValueVersion     = 1
	flexibleTxnValueVersion = 1
)

// txnStates are the states of a transaction by their numbers (F§5.9).
var txnStates = []string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

// Transactions decodes the records of __transaction_state (Kafka class TransactionLog).
func Transactions(r *record.Record) (Text, error) {
	in := &reader{p: r.Key}
	version := in.i16()
	if in.err == nil && version != 0 {
		return keyOnly("unknown::version=%d", version), nil
	}
	id := in.text("transactionalId")
	if in.err != nil {
		return keyOnly("Error at offset %d, skipping. %v", r.Offset, in.err), nil
	}
	t := Text{Key: "transaction_metadata::transactionalId=" + id, Payload: "<DELETE>", HasKey: true, HasPayload: true}
	if r.Value != nil {
		var err error
		if t.Payload, err = txnValue(r.Value); err != nil {
			return keyOnly("Error at offset %d, skipping. %v", r.Offset, err), nil
		}
	}
	return t, nil
}

// txnValue decodes the state of a transaction.
func txnValue(p []byte) (string, error) {
	r := &reader{p: p}
	version := r.i16()
	if r.err == nil && (version < 0 || version > lastTxnValueVersion) {
		r.fail("Unknown version %d from the transaction log message value", version)
	}
	r.flex = version >= flexibleTxnValueVersion
	producerID, epoch, timeoutMs, status := r.i64(), r.i16(), r.i32(), r.i8()
	var list []string
	for n := r.count(6); n > 0 && r.err == nil; n-- {
		topic := r.text("topic")
		for m := r.count(4); m > 0 && r.err == nil; m-- {
			list = append(list, fmt.Sprintf("%s-%d", topic, r.i32()))
		}
		r.tags()
	}
	updated := r.i64()
	r.i64() // when it started
	r.tags()
	if r.err == nil && (status < 0 || int(status) >= len(txnStates)) {
		r.fail("Unknown transaction state id %d from the transaction status message", status)
	}
	if r.err != nil {
		return "", r.err
	}
	return fmt.Sprintf("producerId:%d,producerEpoch:%d,state=%s,partitions=[%s],txnLastUpdateTimestamp=%d,txnTimeoutMs=%d",
		producerID, epoch, txnStates[status], strings.Join(list, ","), updated, timeoutMs), nil
}
