package zk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// CloseSession ends a session of an earlier run of this process, so that its ephemeral nodes vanish now instead of after
// the session timeout. The caller has kept id and password ([Session.ID], [Session.Password]) and must be sure that the
// process they belong to is gone, for example because it holds the lock on that process's data directory. Who does not
// know the password cannot do it; nothing is stolen.
//
// It returns nil when a server has closed the session or does not know it any more, and an error when no server gave an
// answer before ctx ended or all were tried. The session then ends by its timeout.
func CloseSession(ctx context.Context, cfg Config, id int64, passwd []byte) error {
	if id == 0 {
		return errors.New("close a previous zookeeper session: there is no session 0")
	}
	addrs, _, err := parseConnect(cfg.Connect)
	if err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	var errs []error
	for _, i := range rand.Perm(len(addrs)) {
		err := closeAt(ctx, cfg, addrs[i], id, passwd)
		for again := 0; errors.Is(err, errUnanswered) && again < closeAttempts && ctx.Err() == nil; again++ {
			err = closeAt(ctx, cfg, addrs[i], id, passwd) // a session that was closed is not known any more
		}
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("at %s: %w", addrs[i], err))
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("close the previous zookeeper session 0x%x: %w", id, errors.Join(errs...))
}

// errUnanswered means that closeSession was sent, and the connection ended before the answer. Apache's server does that when the session still has
// another connection: it may close either first.
var errUnanswered = errors.New("read the answer to closeSession")

// closeAttempts is how often a server is asked again for an answer that was lost.
const closeAttempts = 3

// closeAt tries one server: it takes the session up and closes it.
func closeAt(ctx context.Context, cfg Config, addr string, id int64, passwd []byte) error {
	ctx, cancel := context.WithTimeout(ctx, min(max(cfg.SessionTimeout/3, 250*time.Millisecond), 3*time.Second))
	defer cancel()
	conn, err := cfg.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the server closes it anyway
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := closeOn(conn, cfg, id, passwd); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("no answer: %w", ctx.Err())
		}
		return err
	}
	return nil
}

// closeOn speaks the protocol: handshake with the old id, then closeSession (Z§2, Z§4).
func closeOn(conn net.Conn, cfg Config, id int64, passwd []byte) error {
	if _, err := conn.Write(handshakeRequest(id, passwd, int32(cfg.SessionTimeout.Milliseconds()))); err != nil {
		return fmt.Errorf("send the handshake: %w", err)
	}
	body, err := readFrame(conn, maxHandshake)
	if err != nil {
		return fmt.Errorf("read the answer to the handshake: %w", err)
	}
	r, err := parseHandshake(body)
	if err != nil {
		return err
	}
	if r.id != id {
		return nil // unknown to the server: over already, or the password is not its password
	}
	const xid = 1
	request := binary.BigEndian.AppendUint32(nil, 8)
	request = binary.BigEndian.AppendUint32(request, xid)
	closing := opClose
	request = binary.BigEndian.AppendUint32(request, uint32(closing))
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("send closeSession: %w", err)
	}
	for {
		body, err := readFrame(conn, maxHandshake)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnanswered, err)
		}
		if len(body) >= replyHeaderSize && binary.BigEndian.Uint32(body) == xid {
			return nil
		}
	}
}

// readFrame reads one frame of at most limit bytes.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < 1 || n > limit {
		return nil, fmt.Errorf("%w: a frame of %d bytes, want 1 to %d", errMalformed, n, limit)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}
