package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// requestHead returns the frames that begin a call, and the length that announces a message of size bytes.
func requestHead(t *testing.T, method string, size uint32) (head, prefix []byte) {
	t.Helper()
	var block, frames bytes.Buffer
	h := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method}, {Name: ":authority", Value: "broker"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	} {
		if err := h.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	frames.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&frames, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	return frames.Bytes(), binary.BigEndian.AppendUint32([]byte{0}, size)
}

// dataFrame puts bytes into a frame of stream 1.
func dataFrame(t *testing.T, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := http2.NewFramer(&b, nil).WriteData(1, false, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestClientsThatLeaveInMidRequest cuts a conversation at each of its parts, many times, and wants everything that the broker held for it to be given back.
func TestClientsThatLeaveInMidRequest(t *testing.T) {
	v := newVictim(t)
	v.line(v.cc).good(0)
	base := v.connections()
	for _, method := range []string{"/ottla.v1.ProduceService/Produce", "/ottla.v1.FetchService/Fetch", "/ottla.v1.TopicService/CreateTopics"} {
		head, prefix := requestHead(t, method, 1<<20)
		half := append(bytes.Clone(prefix), make([]byte, 8<<10)...)
		whole := bytes.Join([][]byte{head, dataFrame(t, half)}, nil)
		for _, cut := range []int{0, 1, 3, 14, len(http2.ClientPreface), len(http2.ClientPreface) + 5, len(head) - 1, len(head), len(head) + 9, len(head) + 9 + len(prefix), len(whole) - 1, len(whole)} {
			for range 5 {
				c, err := net.Dial("tcp", v.addr)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write(whole[:cut]); err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	eventually(t, "connections are given back", func() bool { return v.connections() <= base })
	v.line(v.cc).good(1)
}

// TestHugeAnnouncements has messages announced that are larger than anything: the broker must not make room for them.
func TestHugeAnnouncements(t *testing.T) {
	v := newVictim(t)
	v.line(v.cc).good(0)
	before := v.number("VmHWM")
	for range 20 {
		for _, size := range []uint32{1<<32 - 1, 1<<31 - 1, 104857601, 104857600} {
			head, prefix := requestHead(t, "/ottla.v1.ProduceService/Produce", size)
			c, err := net.Dial("tcp", v.addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(append(head, dataFrame(t, append(prefix, "a little"...))...)); err != nil {
				t.Fatal(err)
			}
			defer c.Close() // it stays open to the end
			if size > 104857600 {
				if _, err := io.ReadFull(c, make([]byte, 9)); err != nil {
					t.Errorf("%d bytes announced: %v", size, err)
				}
			}
		}
	}
	v.line(v.cc).good(1)
	grown := v.number("VmHWM") - before
	t.Logf("%d KiB more", grown)
	if grown > 50<<10 {
		t.Errorf("the broker needed %d KiB more for messages that were only announced", grown)
	}
}
