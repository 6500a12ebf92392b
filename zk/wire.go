package zk

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of the requests that this package sends (Z§4).
const (
	opCreate   int32 = 1
	opDelete   int32 = 2
	opExists   int32 = 3
	opGet      int32 = 4
	opSet      int32 = 5
	opSync     int32 = 9
	opPing     int32 = 11
	opChildren int32 = 12
	opCheck    int32 = 13
	opMulti    int32 = 14
	opError    int32 = -1
	opClose    int32 = -11
)

// Xids that are not a client's count (Z§3).
const (
	xidEvent int32 = -1
	xidPing  int32 = -2
)

// Sizes of frames.
const (
	// replyHeaderSize is xid, zxid and error.
	replyHeaderSize = 16
	// statSize is a Stat on the wire.
	statSize = 68
	// maxFrame is the largest frame that is read. Servers do not limit replies: a listing of many children may be long.
	maxFrame = 64 << 20
	// maxHandshake is the largest answer to a handshake. It is 36 or 37 bytes.
	maxHandshake = 256
)

// errMalformed is the cause of every complaint about a server's bytes.
var errMalformed = errors.New("malformed answer")

// cursor walks over the bytes of a frame. The first fault sticks.
type cursor struct {
	rest []byte
	bad  bool
}

// skip passes n bytes.
func (c *cursor) skip(n int) {
	if n < 0 || n > len(c.rest) {
		c.bad, c.rest = true, nil
		return
	}
	c.rest = c.rest[n:]
}

// int32 reads a number.
func (c *cursor) int32() int32 {
	if len(c.rest) < 4 {
		c.bad, c.rest = true, nil
		return 0
	}
	v := int32(binary.BigEndian.Uint32(c.rest))
	c.rest = c.rest[4:]
	return v
}

// byte reads a byte.
func (c *cursor) byte() byte {
	if len(c.rest) < 1 {
		c.bad, c.rest = true, nil
		return 0
	}
	v := c.rest[0]
	c.rest = c.rest[1:]
	return v
}

// text passes a string. A null string, which no server may send, is a fault: the library takes its length for a huge one.
func (c *cursor) text() { c.skip(int(c.int32())) }

// buffer passes a byte buffer, which may be null.
func (c *cursor) buffer() {
	if n := c.int32(); n != -1 {
		c.skip(int(n))
	}
}

// texts passes a vector of strings.
func (c *cursor) texts() {
	n := c.int32()
	if n < 0 || int(n) > len(c.rest)/4 {
		c.bad = true
		return
	}
	for range n {
		c.text()
	}
}

// multi passes the answer to a Multi.
func (c *cursor) multi() {
	for !c.bad {
		kind := c.int32()
		done := c.byte() != 0
		c.int32()
		if done {
			return
		}
		switch kind {
		case opCreate:
			c.text()
		case opSet:
			c.skip(statSize)
		case opError:
			c.int32()
		case opCheck, opDelete:
		default:
			c.bad = true
		}
	}
}

// checkReply checks the body of the answer to a request. The library decodes without looking and panics on some faults.
func checkReply(op int32, body []byte) error {
	c := cursor{rest: body}
	switch op {
	case opCreate, opSync:
		c.text()
	case opExists, opSet:
		c.skip(statSize)
	case opGet:
		c.buffer()
		c.skip(statSize)
	case opChildren:
		c.texts()
		c.skip(statSize)
	case opMulti:
		c.multi()
	}
	if c.bad {
		return fmt.Errorf("%w: the body of %d bytes does not hold the answer to opcode %d", errMalformed, len(body), op)
	}
	return nil
}

// checkEvent checks the body of a watch event.
func checkEvent(body []byte) error {
	c := cursor{rest: body}
	c.skip(8)
	c.text()
	if c.bad {
		return fmt.Errorf("%w: %d bytes are not a watch event", errMalformed, len(body))
	}
	return nil
}

// handshakeReply is what a server grants.
type handshakeReply struct {
	id        int64 // 0: the session asked for is over
	timeoutMs int32
	password  []byte
}

// parseHandshake reads the answer to a handshake, without the frame's length (Z§2). The last byte, readOnly, may be
// missing.
func parseHandshake(body []byte) (handshakeReply, error) {
	c := cursor{rest: body}
	c.int32() // protocol version
	timeout := c.int32()
	if len(c.rest) < 8 {
		return handshakeReply{}, fmt.Errorf("%w: a handshake of %d bytes", errMalformed, len(body))
	}
	id := int64(binary.BigEndian.Uint64(c.rest))
	c.skip(8)
	n := int(c.int32())
	if c.bad || n < 0 || n > len(c.rest) {
		return handshakeReply{}, fmt.Errorf("%w: a handshake of %d bytes", errMalformed, len(body))
	}
	if id != 0 && timeout <= 0 {
		return handshakeReply{}, fmt.Errorf("%w: a session timeout of %d ms", errMalformed, timeout)
	}
	return handshakeReply{id: id, timeoutMs: timeout, password: append([]byte(nil), c.rest[:n]...)}, nil
}

// handshakeRequest returns the frame that asks to take up a session. The trailing readOnly byte is left out, as the
// library does.
func handshakeRequest(id int64, password []byte, timeoutMs int32) []byte {
	b := make([]byte, 4, 48+len(password))
	b = binary.BigEndian.AppendUint32(b, 0) // protocol version
	b = binary.BigEndian.AppendUint64(b, 0) // last zxid seen: none, so that no server refuses
	b = binary.BigEndian.AppendUint32(b, uint32(timeoutMs))
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	b = binary.BigEndian.AppendUint32(b, uint32(len(password)))
	b = append(b, password...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// request is what the wire sees of a frame on its way out.
type request struct {
	xid  int32
	op   int32
	path string // for reads that can set a watch
}

// parseRequest reads the header of a whole frame as the library writes it in one piece.
func parseRequest(frame []byte) (request, error) {
	if len(frame) < 12 || int(binary.BigEndian.Uint32(frame)) != len(frame)-4 {
		return request{}, fmt.Errorf("send: %d bytes are not one whole frame", len(frame))
	}
	r := request{xid: int32(binary.BigEndian.Uint32(frame[4:])), op: int32(binary.BigEndian.Uint32(frame[8:]))}
	if r.op == opExists || r.op == opGet || r.op == opChildren {
		c := cursor{rest: frame[12:]}
		n := int(c.int32())
		if c.bad || n < 0 || n != len(c.rest)-1 {
			return request{}, fmt.Errorf("send: a read of %d bytes without path and watch flag", len(frame))
		}
		r.path = string(c.rest[:n])
	}
	return r, nil
}
