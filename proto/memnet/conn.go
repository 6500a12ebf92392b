package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a connection: it implements net.Conn over two pipes.
type conn struct {
	net           *Network
	peer          *conn
	in, out       *pipe
	local, remote Addr
	from, to      string
	once          sync.Once
}

func (c *conn) Read(p []byte) (int, error)         { return c.wrap("read", p, c.in.read) }
func (c *conn) Write(p []byte) (int, error)        { return c.wrap("write", p, c.out.write) }
func (c *conn) LocalAddr() net.Addr                { return c.local }
func (c *conn) RemoteAddr() net.Addr               { return c.remote }
func (c *conn) SetDeadline(t time.Time) error      { c.in.readBy.set(t); c.out.writeBy.set(t); return nil }
func (c *conn) SetReadDeadline(t time.Time) error  { c.in.readBy.set(t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.out.writeBy.set(t); return nil }

func (c *conn) wrap(op string, p []byte, f func([]byte) (int, error)) (int, error) {
	n, err := f(p)
	if err != nil && err != io.EOF {
		err = &net.OpError{Op: op, Net: "memnet", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

// Close ends the connection in order: the peer reads what was written, then io.EOF.
func (c *conn) Close() error {
	c.forget()
	c.out.end(io.EOF, syscall.EPIPE)
	c.in.end(net.ErrClosed, syscall.EPIPE)
	c.in.drop()
	c.out.closedHere()
	return nil
}

// reset ends the connection at once for both ends.
func (c *conn) reset() {
	c.forget()
	c.peer.forget()
	for _, p := range []*pipe{c.in, c.out} {
		p.end(syscall.ECONNRESET, syscall.ECONNRESET)
		p.drop()
	}
}

func (c *conn) forget() {
	c.once.Do(func() {
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
	})
}

// deadline is a moment after which waiting ends. It is a channel that a timer closes.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	done  chan struct{}
}

func newDeadline() *deadline { return &deadline{done: make(chan struct{})} }

// passed returns a channel that is closed once the deadline has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// set moves the deadline; the zero time removes it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.done // the timer's function is running or has run: it closes this channel
	}
	d.timer = nil
	select {
	case <-d.done:
		d.done = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		done := d.done
		d.timer = time.AfterFunc(wait, func() { close(done) })
		return
	}
	close(d.done)
}

// pipe is one direction of a connection.
type pipe struct {
	mu      sync.Mutex
	wake    chan struct{} // closed and replaced whenever anything changes
	chunks  []chunk
	size    int
	delay   time.Duration
	held    bool  // the link is cut
	readErr error // what a reader gets after the chunks
	sendErr error // what a writer gets
	readBy  *deadline
	writeBy *deadline
}

// chunk is a piece of data and the moment at which it arrives.
type chunk struct {
	data []byte
	at   time.Time
}

func newPipe(delay time.Duration) *pipe {
	return &pipe{wake: make(chan struct{}), delay: delay, readBy: newDeadline(), writeBy: newDeadline()}
}

func (p *pipe) changedLocked() {
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *pipe) hold(h bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = h
	p.changedLocked()
}

func (p *pipe) setDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// end sets what readers and writers get from now on. The first end wins, except that a reset or a local close replaces an orderly end.
func (p *pipe) end(read, write error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr == nil || p.readErr == io.EOF {
		p.readErr = read
	}
	if p.sendErr == nil {
		p.sendErr = write
	}
	p.changedLocked()
}

// closedHere makes writes on the closed end fail with net.ErrClosed, as those of a closed socket do.
func (p *pipe) closedHere() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sendErr = net.ErrClosed
}

// drop forgets what was not read.
func (p *pipe) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chunks, p.size = nil, 0
	p.changedLocked()
}

func (p *pipe) write(b []byte) (int, error) {
	written := 0
	for {
		select {
		case <-p.writeBy.passed():
			return written, os.ErrDeadlineExceeded
		default:
		}
		p.mu.Lock()
		if p.sendErr != nil {
			defer p.mu.Unlock()
			return written, p.sendErr
		}
		if room := BufferSize - p.size; room > 0 && len(b) > 0 {
			n := min(room, len(b))
			p.pushLocked(b[:n])
			written += n
			b = b[n:]
		}
		wake := p.wake
		p.mu.Unlock()
		if len(b) == 0 {
			return written, nil
		}
		select {
		case <-wake:
		case <-p.writeBy.passed():
		}
	}
}

// pushLocked adds a copy of b, to the last chunk if it fits and nothing delays it.
func (p *pipe) pushLocked(b []byte) {
	p.size += len(b)
	if last := len(p.chunks) - 1; p.delay == 0 && last >= 0 && cap(p.chunks[last].data)-len(p.chunks[last].data) >= len(b) {
		p.chunks[last].data = append(p.chunks[last].data, b...)
	} else {
		c := chunk{data: append(make([]byte, 0, max(len(b), 4096)), b...)}
		if p.delay > 0 {
			c.at = time.Now().Add(p.delay)
		}
		p.chunks = append(p.chunks, c)
	}
	p.changedLocked()
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		select {
		case <-p.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		default:
		}
		n, wait, wake, err := p.tryRead(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		if err := p.await(wait, wake); err != nil {
			return 0, err
		}
	}
}

// await waits for a change, for the arrival of a delayed chunk if wait is positive, or for the read deadline.
func (p *pipe) await(wait time.Duration, wake <-chan struct{}) error {
	var arrival <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		arrival = t.C
	}
	select {
	case <-wake:
	case <-arrival:
	case <-p.readBy.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (p *pipe) tryRead(b []byte) (n int, wait time.Duration, wake <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr == nil || p.readErr == io.EOF {
		if p.held {
			return 0, 0, p.wake, nil
		}
		if len(p.chunks) > 0 {
			c := &p.chunks[0]
			if !c.at.IsZero() {
				if wait = time.Until(c.at); wait > 0 {
					return 0, wait, p.wake, nil
				}
			}
			n = copy(b, c.data)
			c.data = c.data[n:]
			if len(c.data) == 0 {
				p.chunks[0] = chunk{}
				p.chunks = p.chunks[1:]
			}
			p.size -= n
			p.changedLocked()
			return n, 0, nil, nil
		}
	}
	return 0, 0, p.wake, p.readErr
}
