// Package embedded is a standalone server of the ZooKeeper wire protocol: what the quick start, demos and tests use in
// the place of Apache ZooKeeper. It is complete (every operation of the 3.8 protocol that a single server can honour),
// durable, and small; a client cannot tell the difference, which package zktest checks on both.
//
// # How it works
//
// One goroutine, the core, owns everything that requests read and change: the tree with its sessions (package tree),
// the watches (package watch), the table of connections. It takes requests in the order of arrival, decides and applies
// them at once, and appends what was decided to a buffer. A second goroutine writes that buffer as one frame and syncs
// it (package txlog), while the core fills the next one: a group commit whose size adapts itself to the disk.
//
// Memory is thus ahead of the disk, but nobody can see it: every reply, event and read carries the zxid of the newest
// change that it could show, and is held back until that zxid is durable. Order is kept in one queue, so an event is
// sent before any reply that shows its change. A failed write or sync stops the server, since memory cannot go back.
//
// Each connection has a reader, which cuts frames and hands them to the core, and a writer with a queue of its own, so
// that a client that does not read delays nobody.
//
// # Bounds
//
// Connections (per address and in all), frame sizes, time until the handshake, replies queued for one slow reader, and
// bytes that wait for the disk are all limited; see Limits. A full disk queue stops the core from taking requests, and
// sessions do not expire while their requests wait for it.
//
// Facts about the protocol are from the fact sheet, cited as Z§n.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/zk/jute"
)

// Config says how to run a server. Only DataDir is required; the zero value of every other field means its default.
type Config struct {
	// DataDir keeps the snapshots, DataLogDir the transaction log; DataLogDir "" means DataDir.
	DataDir, DataLogDir string
	// FS is the file system of both; nil means vfs.OS.
	FS vfs.FS
	// Listener accepts the clients. Start owns it, also when Start fails. nil means to listen on Addr.
	Listener net.Listener
	// Addr is the "host:port" to listen on (TCP) when Listener is nil; "" means ":2181".
	Addr string
	// TickTime is the granularity of session expiry and the unit of the session timeout bounds; default 3 s.
	TickTime time.Duration
	// MinSessionTimeout and MaxSessionTimeout bound what clients may negotiate; default 2 and 20 ticks.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// MaxClientCnxns bounds the connections from one address; 0 means 60, negative means no bound.
	MaxClientCnxns int
	// SnapCount is the number of transactions between snapshots; default 100,000.
	SnapCount int
	// Retain is the number of snapshots to keep, with the log that belongs to them; 0 means 3, negative keeps all.
	Retain int
	// NoSync leaves out the sync after each group of transactions: a power cut may then lose what was acknowledged. It is
	// the opposite of the configuration key forceSync, so that the zero Config is durable.
	NoSync bool
	// Whitelist4lw names the four-letter words that are answered, "*" for all; nil means srvr alone, as in Apache's.
	Whitelist4lw []string
	// SuperDigest is "user:hash" of the identity that passes every access check; "" means there is none.
	SuperDigest string
	// ExtendedTypes allows createTTL.
	ExtendedTypes bool
	// SkipACL lets every access check pass.
	SkipACL bool
	// ReapInterval is the time between two rounds of removing empty containers and expired TTL nodes; default 1 minute.
	ReapInterval time.Duration
	// Limits bound what clients can make the server hold.
	Limits Limits
	// Logger gets the server's few messages; nil discards them.
	Logger hclog.Logger
}

// Limits bound what clients can make the server hold. Zero fields mean the default.
type Limits struct {
	// MaxFrame is the largest request in bytes (jute.maxbuffer); default 1,048,575. A larger one closes the connection.
	MaxFrame int
	// MaxConnections bounds the connections from all addresses; default 10,000.
	MaxConnections int
	// HandshakeTimeout is the time that a new connection has to send its first frame; default 15 s.
	HandshakeTimeout time.Duration
	// SoftQueue is the number of bytes queued for one client above which no more of its requests are read; default 4 MiB.
	SoftQueue int
	// HardQueue is the number of bytes queued for one client above which the next event disconnects it; default 64 MiB.
	HardQueue int
	// MaxPending is the number of bytes, of transactions and of replies, that may wait for the disk; above it no request
	// is taken. Default 32 MiB.
	MaxPending int
	// MaxWatchBytes is the number of bytes that the watches of one connection may take, roughly; above it the connection
	// is closed. Default 64 MiB.
	MaxWatchBytes int
	// MaxSessions bounds the live sessions; above it no new one is given. Default 100,000.
	MaxSessions int
	// SnapBytes is the number of bytes of transactions after which a snapshot is taken before SnapCount; default 256 MiB.
	SnapBytes int64
}

// Defaults that have no name in the configuration file.
const (
	defaultPort       = ":2181"
	defaultTick       = 3 * time.Second
	defaultCnxns      = 60
	defaultSnapCount  = 100_000
	defaultRetain     = 3
	defaultReap       = time.Minute
	reapBatch         = 10_000
	maxIdentities     = 64               // auth identities of one connection
	maxAuthBytes      = 1024             // of one auth request
	finishGrace       = 10 * time.Second // for a client to take the last replies, when it alone is disconnected
	stopGrace         = time.Second      // the same when the server stops
	lingerGrace       = time.Second      // for a client to close its direction
	slowSyncThreshold = time.Second
)

// withDefaults fills in what was left out and checks the rest.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("no data directory given (dataDir)"))
	}
	setDefault(&c.DataLogDir, c.DataDir)
	setDefault(&c.Addr, defaultPort)
	setDefault(&c.TickTime, defaultTick)
	setDefault(&c.MaxClientCnxns, defaultCnxns)
	setDefault(&c.SnapCount, defaultSnapCount)
	setDefault(&c.Retain, defaultRetain)
	setDefault(&c.ReapInterval, defaultReap)
	if c.TickTime < time.Millisecond {
		errs = append(errs, fmt.Errorf("a tick of %v: at least 1ms is needed (tickTime)", c.TickTime))
	}
	setDefault(&c.MinSessionTimeout, 2*c.TickTime)
	setDefault(&c.MaxSessionTimeout, 20*c.TickTime)
	if c.MinSessionTimeout <= 0 || c.MinSessionTimeout > c.MaxSessionTimeout {
		errs = append(errs, fmt.Errorf("session timeouts from %v to %v: the least must be above 0 and not above the most",
			c.MinSessionTimeout, c.MaxSessionTimeout))
	}
	if c.Whitelist4lw == nil {
		c.Whitelist4lw = []string{"srvr"}
	}
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	c.Limits = c.Limits.withDefaults()
	return c, errors.Join(errs...)
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.MaxFrame, jute.DefaultMaxFrame)
	setDefault(&l.MaxConnections, 10_000)
	setDefault(&l.HandshakeTimeout, 15*time.Second)
	setDefault(&l.SoftQueue, 4<<20)
	setDefault(&l.HardQueue, 64<<20)
	setDefault(&l.MaxPending, 32<<20)
	setDefault(&l.MaxWatchBytes, 64<<20)
	setDefault(&l.MaxSessions, 100_000)
	setDefault(&l.SnapBytes, 256<<20)
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
