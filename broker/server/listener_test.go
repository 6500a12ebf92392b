package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
)

// lines collects what is logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listen starts a listener whose connections nobody accepts unless a test does.
func listen(t *testing.T, cfg ListenerConfig) (*Listener, *memnet.Network, *lines) {
	t.Helper()
	n := memnet.New()
	inner, err := n.Listen("broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	logged := &lines{}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: logged})
	l := Listen(inner, cfg)
	t.Cleanup(func() { l.Close() })
	return l, n, logged
}

func connect(t *testing.T, n *memnet.Network) net.Conn {
	t.Helper()
	c, err := n.Dialer("client")(t.Context(), "broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestOtherProtocolsAreRefusedWithAReason(t *testing.T) {
	for _, c := range []struct {
		name, sent, answer, logged string
	}{
		{"a browser", "GET / HTTP/1.1\r\nHost: broker\r\n\r\n", "This is an Ottla broker. It speaks gRPC", "protocol=HTTP/1"},
		{"a Kafka client", "\x00\x00\x00\x23\x00\x12\x00\x04\x00\x00\x00\x01", "", "protocol=Kafka"},
		{"a TLS client", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "", "protocol=TLS"},
		{"noise", strings.Repeat("\xa5\x5a", 1<<15), "", "protocol=unknown"},
		{"something like gRPC", "PRI", "", "ended before it showed its protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, n, logged := listen(t, ListenerConfig{HandshakeTimeout: time.Second})
			conn := connect(t, n)
			if _, err := io.WriteString(conn, c.sent); err != nil {
				t.Fatal(err)
			}
			if c.sent == "PRI" {
				conn.Close()
				for !strings.Contains(logged.String(), c.logged) {
					runtime.Gosched()
				}
				return
			}
			answer, _ := io.ReadAll(conn)
			if !strings.Contains(string(answer), c.answer) || c.answer == "" && len(answer) > 0 {
				t.Errorf("answered %q", answer)
			}
			for !strings.Contains(logged.String(), c.logged) {
				runtime.Gosched() // the line comes right after the end of the connection
			}
		})
	}
}

func TestATLSClientNoticesAtOnce(t *testing.T) {
	_, n, _ := listen(t, ListenerConfig{})
	err := tls.Client(connect(t, n), &tls.Config{ServerName: "broker"}).HandshakeContext(t.Context())
	if err == nil {
		t.Error("the handshake succeeded")
	}
}

func TestASilentConnectionIsClosedAndKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, n, _ := listen(t, ListenerConfig{HandshakeTimeout: 10 * time.Second})
		silent := connect(t, n)
		begin := time.Now()
		eager := connect(t, n)
		if _, err := io.WriteString(eager, "PRI * HTTP/2.0"); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("the second connection waited %v", waited)
		}
		got := make([]byte, 14)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "PRI * HTTP/2.0" {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := io.WriteString(silent, "P"); err != nil { // one byte does not buy time
			t.Fatal(err)
		}
		if _, err := silent.Read(got); err == nil {
			t.Error("the silent connection was answered")
		}
		if waited := time.Since(begin); waited != 10*time.Second {
			t.Errorf("the silent connection was closed after %v", waited)
		}
		c.Close()
		eager.Close()
		l.Close()
	})
}

func TestPendingConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, n, _ := listen(t, ListenerConfig{HandshakeTimeout: 10 * time.Second, MaxPending: 2})
		for range 2 {
			connect(t, n)
		}
		late := connect(t, n)
		_, _ = io.WriteString(late, "PRI * HTTP/2.0")
		begin := time.Now()
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != 10*time.Second {
			t.Errorf("the third connection was looked at after %v, want after one of the first two has timed out", waited)
		}
		l.Close()
	})
}

func TestClosingAListenerEndsIt(t *testing.T) {
	l, n, _ := listen(t, ListenerConfig{})
	pending := connect(t, n)
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v", err)
	}
	if _, err := pending.Read(make([]byte, 1)); err == nil {
		t.Error("a pending connection is still open")
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// flaky fails to accept some times before it hands out connections.
type flaky struct {
	net.Listener
	failures int
}

type passing struct{ error }

func (passing) Temporary() bool { return true }
func (passing) Timeout() bool   { return false }

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures--; f.failures >= 0 {
		return nil, passing{errors.New("too many open files")}
	}
	return f.Listener.Accept()
}

func TestAcceptIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		inner, err := n.Listen("broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		l := Listen(&flaky{inner, 20}, ListenerConfig{})
		c := connect(t, n)
		_, _ = io.WriteString(c, "PRI * HTTP/2.0")
		if _, err := l.Accept(); err != nil {
			t.Errorf("Accept: %v", err)
		}
		l.Close()
	})
}

func TestAStrangerDoesNotDisturbOthers(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	cc := w.dial("")
	for range 20 {
		c, err := w.net.Dialer("stranger")(t.Context(), "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then nothing that makes sense")
		_, _ = io.Copy(io.Discard, c)
		c.Close()
		if _, err := ottlapb.NewMetadataServiceClient(cc).DescribeCluster(context.Background(), &ottlapb.DescribeClusterRequest{}); err != nil {
			t.Fatal(err)
		}
	}
}
