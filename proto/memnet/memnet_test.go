package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

// pair connects host a to host b.
func pair(t testing.TB, n *Network) (near, far net.Conn) {
	t.Helper()
	l, err := n.Listen("b:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	near, err = n.Dialer("a")(context.Background(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestAConnectionBehavesAsNetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = pair(t, New())
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestAddresses(t *testing.T) {
	n := New()
	l, err := n.Listen("b:9092")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen("b:9092"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("second listener: %v", err)
	}
	if _, err := n.Listen("c:9092"); err != nil {
		t.Fatalf("the same port on another host: %v", err)
	}
	if _, err := n.Dialer("a")(t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial without listener: %v", err)
	}
	l.Close()
	if _, err := n.Dialer("a")(t.Context(), "b:9092"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial after close: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("accept after close: %v", err)
	}
	if _, err := n.Listen("b:9092"); err != nil {
		t.Fatalf("listen again: %v", err)
	}
}

func TestACutLinkKeepsBytesUntilItHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		near, far := pair(t, n)
		n.Cut("a", "b")
		if _, err := near.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		far.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
			t.Fatalf("read over a cut link: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Dialer("a")(ctx, far.LocalAddr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial over a cut link: %v", err)
		}
		n.Heal("b", "a")
		far.SetReadDeadline(time.Time{})
		b := make([]byte, 1)
		if _, err := io.ReadFull(far, b); err != nil || b[0] != 'x' {
			t.Fatalf("read after heal: %q, %v", b, err)
		}
		near.Close()
		far.Close()
	})
}

func TestALinkThatIsCutOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		near, far := pair(t, n)
		n.CutOneWay("a", "b")
		near.Write([]byte("x"))
		far.Write([]byte("y"))
		b := make([]byte, 1)
		if _, err := io.ReadFull(near, b); err != nil || b[0] != 'y' {
			t.Fatalf("read what comes against the cut: %q, %v", b, err)
		}
		far.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := far.Read(b); !isTimeout(err) {
			t.Fatalf("read what is cut off: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Dialer("a")(ctx, far.LocalAddr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial: %v", err)
		}
		n.Heal("b", "a")
		far.SetReadDeadline(time.Time{})
		if _, err := io.ReadFull(far, b); err != nil || b[0] != 'x' {
			t.Fatalf("read after heal: %q, %v", b, err)
		}
		near.Close()
		far.Close()
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestADelayedLinkDeliversLaterAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		near, far := pair(t, n)
		n.SetDelay("a", "b", 3*time.Second)
		start := time.Now()
		near.Write([]byte("12"))
		n.SetDelay("a", "b", 0)
		near.Write([]byte("3"))
		b := make([]byte, 3)
		if _, err := io.ReadFull(far, b); err != nil || string(b) != "123" {
			t.Fatalf("%q, %v", b, err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Fatalf("arrived after %v", d)
		}
		near.Close()
		far.Close()
	})
}

func TestAKilledHostResetsItsConnections(t *testing.T) {
	n := New()
	near, far := pair(t, n)
	near.Write([]byte("lost"))
	n.Kill("b")
	for _, c := range []net.Conn{near, far} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("read: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("write: %v", err)
		}
	}
	if _, err := n.Dialer("a")(t.Context(), near.RemoteAddr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial: %v", err)
	}
	if len(n.conns) != 0 {
		t.Fatalf("%d connections are still known", len(n.conns))
	}
}

func TestAWriterAheadOfItsReaderWaits(t *testing.T) {
	near, far := pair(t, New())
	near.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	n, err := near.Write(make([]byte, 2*BufferSize))
	if n != BufferSize || !isTimeout(err) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	near.Close()
	got, err := io.Copy(io.Discard, far)
	if got != BufferSize || err != nil {
		t.Fatalf("read %d, %v", got, err)
	}
}
