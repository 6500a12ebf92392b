package jute

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// records is one of each record, filled.
func records() []Record {
	acl := []ACL{{Perms: 31, Scheme: "world", ID: "anyone"}, {Perms: 1, Scheme: "digest", ID: "a:b"}}
	return []Record{
		&Stat{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
		&ACL{Perms: 5, Scheme: "ip", ID: "1.2.3.4"},
		&ConnectRequest{ProtocolVersion: 1, LastZxidSeen: 2, TimeoutMs: 3, SessionID: 4, Password: []byte("pw"), ReadOnly: true, HasReadOnly: true},
		&ConnectRequest{TimeoutMs: 3},
		&ConnectResponse{TimeoutMs: 3, SessionID: 4, Password: make([]byte, 16)},
		&ConnectResponse{TimeoutMs: 3, SessionID: 4, Password: make([]byte, 16), HasReadOnly: true},
		&RequestHeader{Xid: -2, Op: OpPing},
		&ReplyHeader{Xid: 1, Zxid: 1 << 40, Err: NoNode},
		&WatcherEvent{Type: EventNodeDeleted, State: EventStateConnected, Path: "/a"},
		&MultiHeader{Op: OpError, Done: true, Err: -1},
		&CreateRequest{Path: "/a", Data: []byte("x"), ACL: acl, Mode: ModeEphemeral},
		&CreateRequest{Path: "/a", Data: []byte{}, ACL: acl, Mode: ModeTTL, TTLMs: 7, HasTTL: true},
		&PathVersionRequest{Path: "/a", Version: -1},
		&PathWatchRequest{Path: "/a", Watch: true},
		&PathRequest{Path: "/a"},
		&SetDataRequest{Path: "/a", Version: 3},
		&SetACLRequest{Path: "/a", ACL: acl, Version: 3},
		&PathTypeRequest{Path: "/a", Type: WatcherAny},
		&AddWatchRequest{Path: "/a", Mode: AddWatchPersistentRecursive},
		&AuthRequest{Scheme: "digest", Auth: []byte("a:b")},
		&SetWatchesRequest{RelativeZxid: 9, Data: []string{"/a", ""}, Child: []string{"/b"}},
		&SetWatchesRequest{RelativeZxid: 9, Exist: []string{"/a"}, Persistent: []string{"/b"}, Recursive: []string{"/c"}, V2: true},
		&ReconfigRequest{Joining: "a", NewMembers: "b", CurConfigID: -1},
	}
}

// blank returns an empty record of r's kind, told what the decoder of its kind must be told.
func blank(r Record) Record {
	fresh := reflect.New(reflect.TypeOf(r).Elem()).Interface().(Record)
	switch r := r.(type) {
	case *CreateRequest:
		fresh.(*CreateRequest).HasTTL = r.HasTTL
	case *SetWatchesRequest:
		fresh.(*SetWatchesRequest).V2 = r.V2
	}
	return fresh
}

func encode(r Record) []byte {
	var e Encoder
	r.Encode(&e)
	return e.Bytes()
}

func TestRecordsDecodeToWhatWasEncoded(t *testing.T) {
	for _, r := range records() {
		got := blank(r)
		d := NewDecoder(encode(r))
		if got.Decode(d); d.Err() != nil || d.Len() != 0 {
			t.Errorf("%T: %v, %d bytes left", r, d.Err(), d.Len())
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%T (-want +got):\n%s", r, diff)
		}
	}
}

func TestEveryShorterRecordIsAnError(t *testing.T) {
	for _, r := range records() {
		full := encode(r)
		for n := range full {
			if _, ok := r.(*ConnectRequest); ok && n == len(full)-1 {
				continue // the last byte may be missing
			}
			if _, ok := r.(*ConnectResponse); ok && n == len(full)-1 {
				continue
			}
			d := NewDecoder(full[:n])
			if blank(r).Decode(d); !errors.Is(d.Err(), ErrShort) {
				t.Errorf("%T cut to %d of %d bytes: %v", r, n, len(full), d.Err())
			}
		}
	}
}

func TestNullAndEmptyBuffersDiffer(t *testing.T) {
	for _, p := range [][]byte{nil, {}, []byte("x")} {
		var e Encoder
		e.Buffer(p)
		if got := NewDecoder(e.Bytes()).Buffer(); (got == nil) != (p == nil) || !bytes.Equal(got, p) {
			t.Errorf("%#v comes back as %#v", p, got)
		}
	}
	if got := NewDecoder([]byte{0xff, 0xff, 0xff, 0xff}).String(); got != "" {
		t.Errorf("a null string reads as %q", got)
	}
}

func TestHostileCountsAllocateNothing(t *testing.T) {
	huge := []byte{0x40, 0, 0, 0}
	for name, read := range map[string]func(d *Decoder){
		"strings": func(d *Decoder) { d.Strings() },
		"acls":    func(d *Decoder) { d.ACLs() },
		"buffer":  func(d *Decoder) { d.Buffer() },
	} {
		d := NewDecoder(huge)
		if n := testing.AllocsPerRun(1, func() { d = NewDecoder(huge); read(d) }); n > 20 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if !errors.Is(d.Err(), ErrShort) {
			t.Errorf("%s: %v", name, d.Err())
		}
	}
}

func TestFrames(t *testing.T) {
	var e Encoder
	at := e.BeginFrame()
	e.String("hello")
	e.EndFrame(at)
	frame := e.Bytes()
	if body, err := ReadFrame(bytes.NewReader(frame), 9); err != nil || string(body[4:]) != "hello" {
		t.Errorf("frame %q, %v", body, err)
	}
	if _, err := ReadFrame(bytes.NewReader(frame), 8); !errors.Is(err, ErrFrameSize) {
		t.Errorf("a frame above the limit: %v", err)
	}
	if _, err := ReadFrame(bytes.NewReader([]byte{0xff, 0, 0, 0}), 1<<30); !errors.Is(err, ErrFrameSize) {
		t.Errorf("a negative length: %v", err)
	}
	if _, err := ReadFrame(bytes.NewReader(frame[:7]), 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame cut short: %v", err)
	}
	if _, err := ReadFrame(bytes.NewReader(nil), 100); !errors.Is(err, io.EOF) {
		t.Errorf("no frame: %v", err)
	}
	big := make([]byte, 5*readStep+17)
	for i := range big {
		big[i] = byte(i)
	}
	if got, err := ReadBody(bytes.NewReader(big), len(big)); err != nil || !bytes.Equal(got, big) {
		t.Errorf("a large body: %v", err)
	}
}

func TestAnAnnouncedBodyIsNotAllocatedAhead(t *testing.T) {
	short := bytes.Repeat([]byte{1}, 100)
	var err error
	per := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err = ReadBody(bytes.NewReader(short), 1<<30)
		}
	}).AllocedBytesPerOp()
	if !errors.Is(err, io.ErrUnexpectedEOF) || per > 2*readStep {
		t.Errorf("%d bytes allocated for 100 that came: %v", per, err)
	}
}

func TestMulti(t *testing.T) {
	ops := []MultiOp{
		{OpCreate, &CreateRequest{Path: "/a", Data: []byte("x")}},
		{OpCreateTTL, &CreateRequest{Path: "/t", Mode: ModeTTL, TTLMs: 5, HasTTL: true}},
		{OpDelete, &PathVersionRequest{Path: "/b", Version: 2}},
		{OpSetData, &SetDataRequest{Path: "/c", Version: -1}},
		{OpCheck, &PathVersionRequest{Path: "/d", Version: 1}},
		{OpGetChildren, &PathWatchRequest{Path: "/e"}},
	}
	var e Encoder
	EncodeMulti(&e, ops)
	got, err := DecodeMulti(NewDecoder(e.Bytes()))
	if diff := cmp.Diff(ops, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for n := range e.Len() {
		if _, err := DecodeMulti(NewDecoder(e.Bytes()[:n])); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
	var odd Encoder
	EncodeMulti(&odd, []MultiOp{{OpPing, &PathRequest{}}})
	if _, err := DecodeMulti(NewDecoder(odd.Bytes())); !errors.Is(err, Unimplemented) {
		t.Errorf("an operation that has no place in a multi: %v", err)
	}
}

// FuzzRecords decodes arbitrary bytes as every record: it must not panic, and what decodes must encode to the same
// bytes that were read, up to null strings and vectors.
func FuzzRecords(f *testing.F) {
	for i, r := range records() {
		f.Add(uint8(i), encode(r))
	}
	f.Fuzz(func(t *testing.T, kind uint8, p []byte) {
		all := records()
		r := blank(all[int(kind)%len(all)])
		d := NewDecoder(p)
		if r.Decode(d); d.Err() != nil {
			return
		}
		again := blank(all[int(kind)%len(all)])
		d2 := NewDecoder(encode(r))
		if again.Decode(d2); d2.Err() != nil {
			t.Fatalf("%T decoded, but its encoding does not: %v", r, d2.Err())
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("%T: (-first +second)\n%s", r, diff)
		}
	})
}

func FuzzMulti(f *testing.F) {
	var e Encoder
	EncodeMulti(&e, []MultiOp{{OpCreate, &CreateRequest{Path: "/a"}}, {OpCheck, &PathVersionRequest{Path: "/d"}}})
	f.Add(e.Bytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		ops, err := DecodeMulti(NewDecoder(p))
		if err != nil {
			return
		}
		var e Encoder
		EncodeMulti(&e, ops)
		again, err := DecodeMulti(NewDecoder(e.Bytes()))
		if diff := cmp.Diff(ops, again); err != nil || diff != "" {
			t.Fatalf("%v (-first +second)\n%s", err, diff)
		}
	})
}

func TestNames(t *testing.T) {
	if got := NoNode.Error(); got != "no node (-101)" {
		t.Error(got)
	}
	if got := Code(-999).Error(); got != "unknown code (-999)" {
		t.Error(got)
	}
	if OpGetData.ShortName() != "GETD" || Op(77).ShortName() != "UNKN" {
		t.Error("names of operations")
	}
}
