package record_test

import (
	"errors"
	"testing"

	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

func TestMarkersAreKafkas(t *testing.T) {
	for _, want := range []record.Marker{
		{Type: record.Commit, ProducerID: 4711, ProducerEpoch: 3, CoordinatorEpoch: 258, Timestamp: 1_700_000_000_000},
		{Type: record.Abort, ProducerID: 1 << 40, ProducerEpoch: 32767, CoordinatorEpoch: -1, Timestamp: 0},
	} {
		b := record.ControlBatch(want)
		if got, err := record.ParseMarker(b); err != nil || got != want {
			t.Errorf("parsed %+v, %v; want %+v", got, err, want)
		}
		if !b.IsControl() || !b.IsTransactional() || !b.CheckCRC() || b.BaseSequence() != -1 || b.Count() != 1 {
			t.Errorf("%v, checksum good %t", b, b.CheckCRC())
		}
		f, err := readForeign(b)
		if err != nil {
			t.Fatal(err)
		}
		coordinator := byte(want.CoordinatorEpoch)
		high := byte(want.CoordinatorEpoch >> 24)
		wantRecords := []record.Record{{
			Timestamp: want.Timestamp,
			Key:       []byte{0, 0, 0, byte(want.Type)},
			Value:     []byte{0, 0, high, high, byte(want.CoordinatorEpoch >> 8), coordinator},
		}}
		if diff := diffRecords(wantRecords, f.asRecords()); diff != "" {
			t.Errorf("an independent decoder reads (-want +got):\n%s", diff)
		}
	}
	if record.Commit.String() != "COMMIT" || record.Abort.String() != "ABORT" || record.MarkerType(5).String() != "control type 5" {
		t.Error("names of control types")
	}
}

// controlBatch is a batch with the control bit around one record.
func controlBatch(t *testing.T, key, value []byte) record.Batch {
	t.Helper()
	b := build(t, record.None, []record.Record{{Key: key, Value: value}})
	b[22] |= 0x30
	return seal(b)
}

func TestParseMarkerTakesLaterVersions(t *testing.T) {
	got, err := record.ParseMarker(controlBatch(t, []byte{0, 1, 0, 1, 9, 9}, []byte{0, 2, 0, 0, 0, 7, 1, 2, 3}))
	if err != nil || got.Type != record.Commit || got.CoordinatorEpoch != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = record.ParseMarker(controlBatch(t, []byte{0, 0, 0, 2}, nil))
	if err != nil || got.Type != 2 {
		t.Errorf("a control type of another kind: %+v, %v", got, err)
	}
}

func TestParseMarkerRefusesNonsense(t *testing.T) {
	for name, b := range map[string]record.Batch{
		"no control bit":       goldenBatch(t),
		"two records":          field16(t, 21, 0x30),
		"no key":               controlBatch(t, nil, []byte{0, 0, 0, 0, 0, 1}),
		"short key":            controlBatch(t, []byte{0, 0, 0}, []byte{0, 0, 0, 0, 0, 1}),
		"negative key version": controlBatch(t, []byte{0xff, 0xff, 0, 1}, []byte{0, 0, 0, 0, 0, 1}),
		"no value":             controlBatch(t, []byte{0, 0, 0, 1}, nil),
		"short value":          controlBatch(t, []byte{0, 0, 0, 0}, []byte{0, 0, 0, 0, 1}),
		"negative version":     controlBatch(t, []byte{0, 0, 0, 0}, []byte{0x80, 0, 0, 0, 0, 1}),
		"record damaged":       seal(append(controlBatch(t, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 1})[:70:70], 0xff)),
		"bytes after":          seal(append(controlBatch(t, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 1}), 0)),
	} {
		var corrupt *record.CorruptError
		if m, err := record.ParseMarker(b); !errors.As(err, &corrupt) || !errors.Is(err, kerr.InvalidRecord) || m != (record.Marker{}) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}
