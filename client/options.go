package client

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/proto/dial"
)

// Option changes a setting of [Dial].
type Option func(*config)

type config struct {
	clientID         string
	dialer           dial.Dialer
	logger           hclog.Logger
	requestTimeout   time.Duration
	apiTimeout       time.Duration
	bootstrapTimeout time.Duration
	metadataMaxAge   time.Duration
	backoff          Backoff
	maxMessageBytes  int
}

// ClientID names the application in the brokers' logs and quotas (client.id). Default: "".
func ClientID(id string) Option { return func(c *config) { c.clientID = id } }

// Dialer replaces TCP as the way to open connections, for example by an in-memory network.
func Dialer(d dial.Dialer) Option { return func(c *config) { c.dialer = d } }

// Logger receives the client's log. Default: nothing is logged.
func Logger(l hclog.Logger) Option { return func(c *config) { c.logger = l } }

// RequestTimeout bounds the wait for one answer (request.timeout.ms). Default: 30 s.
func RequestTimeout(d time.Duration) Option { return func(c *config) { c.requestTimeout = d } }

// APITimeout bounds an operation with all its retries (default.api.timeout.ms), if its context does not end earlier. Default: 60 s.
func APITimeout(d time.Duration) Option { return func(c *config) { c.apiTimeout = d } }

// BootstrapTimeout makes [Dial] go on asking the bootstrap addresses for that long when none of them answers. Default: 0, one round.
func BootstrapTimeout(d time.Duration) Option { return func(c *config) { c.bootstrapTimeout = d } }

// MetadataMaxAge is the age at which metadata is fetched again although nothing failed (metadata.max.age.ms). Default: 5 min.
func MetadataMaxAge(d time.Duration) Option { return func(c *config) { c.metadataMaxAge = d } }

// RetryBackoff is the wait before the first retry and the longest wait (retry.backoff.ms and retry.backoff.max.ms, KIP-580).
// Default: 100 ms and 1 s.
func RetryBackoff(first, most time.Duration) Option {
	return func(c *config) { c.backoff = Backoff{First: first, Max: most} }
}

// MaxMessageBytes bounds an answer that the client is willing to receive, in bytes. Default: 1 GiB.
func MaxMessageBytes(n int) Option { return func(c *config) { c.maxMessageBytes = n } }

func newConfig(opts []Option) (config, error) {
	c := config{
		logger:         hclog.NewNullLogger(),
		requestTimeout: 30 * time.Second,
		apiTimeout:     60 * time.Second,
		metadataMaxAge: 5 * time.Minute,
		backoff:        DefaultBackoff,
	}
	for _, o := range opts {
		o(&c)
	}
	if c.logger == nil {
		c.logger = hclog.NewNullLogger()
	}
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"request timeout", c.requestTimeout, 1},
		{"API timeout", c.apiTimeout, 1},
		{"metadata max age", c.metadataMaxAge, 1},
		{"retry back-off", c.backoff.First, 0},
		{"maximum retry back-off", c.backoff.Max, c.backoff.First},
		{"bootstrap timeout", c.bootstrapTimeout, 0},
	} {
		if d.value < d.least {
			return c, fmt.Errorf("client options: %s is %v, must be at least %v", d.name, d.value, d.least)
		}
	}
	return c, nil
}
