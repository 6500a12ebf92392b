package embedded

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/magiconair/properties"
)

// ParseProperties reads a zoo.cfg or Kafka's zookeeper.properties (Z§14), in the syntax of Java's property files, and
// returns the configuration, one warning for each key that has no effect here, and an error that names everything that
// is wrong. What this server cannot honour is an error and not a warning where a cluster's data or secrecy would depend
// on it: an ensemble (two or more server.N, or a dynamicConfigFile), TLS (secureClientPort), and that every client must
// authenticate itself (sessionRequireClientSASLAuth, enforce.auth.enabled).
func ParseProperties(text []byte) (Config, []string, error) {
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	props, err := loader.LoadBytes(text)
	if err != nil {
		return Config{}, nil, fmt.Errorf("parse properties: %w", err)
	}
	p := parser{host: "", port: ""}
	for _, key := range props.Keys() {
		value, _ := props.Get(key)
		p.set(key, strings.TrimSpace(value))
	}
	if p.cfg.DataDir == "" {
		p.errs = append(p.errs, errors.New("dataDir is not set"))
	}
	if p.port == "" {
		p.errs = append(p.errs, errors.New("clientPort is not set"))
	}
	if p.servers > 1 {
		p.errs = append(p.errs, fmt.Errorf("%d servers are configured (server.N): this is a standalone server, "+
			"run Apache ZooKeeper for an ensemble", p.servers))
	}
	p.cfg.Addr = net.JoinHostPort(p.host, p.port)
	if err := errors.Join(p.errs...); err != nil {
		return Config{}, p.warnings, fmt.Errorf("zookeeper configuration: %w", err)
	}
	return p.cfg, p.warnings, nil
}

// ApplyJVMFlags takes over the system properties (-Dname=value) in a line of Java options, as scripts hand them over in
// SERVER_JVMFLAGS. Other options are passed over.
func (c *Config) ApplyJVMFlags(flags string) (warnings []string, err error) {
	p := parser{cfg: *c}
	for _, flag := range strings.Fields(flags) {
		prop, ok := strings.CutPrefix(flag, "-D")
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(prop, "=")
		if strings.HasPrefix(key, "zookeeper.") || keyTable[key] != nil {
			p.set(key, value)
		}
	}
	if err := errors.Join(p.errs...); err != nil {
		return p.warnings, fmt.Errorf("zookeeper system properties: %w", err)
	}
	*c = p.cfg
	return p.warnings, nil
}

// parser gathers a configuration key by key.
type parser struct {
	cfg        Config
	host, port string
	servers    int
	warnings   []string
	errs       []error
}

// keySetter takes one value over.
type keySetter func(p *parser, value string) error

// ignored is the setter of keys that need nothing: they concern ensembles, or how Apache's server does its work.
func ignored(*parser, string) error { return nil }

var keyTable map[string]keySetter

func init() {
	keyTable = map[string]keySetter{
		"tickTime":                        durationKey(func(c *Config) *time.Duration { return &c.TickTime }),
		"minSessionTimeout":               durationKey(func(c *Config) *time.Duration { return &c.MinSessionTimeout }),
		"maxSessionTimeout":               durationKey(func(c *Config) *time.Duration { return &c.MaxSessionTimeout }),
		"dataDir":                         func(p *parser, v string) error { p.cfg.DataDir = v; return nil },
		"dataLogDir":                      func(p *parser, v string) error { p.cfg.DataLogDir = v; return nil },
		"clientPort":                      portKey,
		"clientPortAddress":               func(p *parser, v string) error { p.host = strings.Trim(v, "[]"); return nil },
		"secureClientPort":                refusedKey("TLS is not available in this server"),
		"dynamicConfigFile":               refusedKey("such a file lists the servers of an ensemble, and this is a standalone server; run Apache ZooKeeper for an ensemble"),
		"sessionRequireClientSASLAuth":    refusedIfTrueKey("SASL is not available in this server"),
		"enforce.auth.enabled":            refusedIfTrueKey("this server does not turn away clients without authentication"),
		"maxClientCnxns":                  unboundedKey(func(c *Config) *int { return &c.MaxClientCnxns }),
		"maxCnxns":                        intKey(0, func(c *Config) *int { return &c.Limits.MaxConnections }),
		"autopurge.snapRetainCount":       retainKey,
		"autopurge.purgeInterval":         purgeKey,
		"snapCount":                       intKey(2, func(c *Config) *int { return &c.SnapCount }),
		"jute.maxbuffer":                  intKey(1, func(c *Config) *int { return &c.Limits.MaxFrame }),
		"4lw.commands.whitelist":          whitelistKey,
		"extendedTypesEnabled":            boolKey(func(c *Config) *bool { return &c.ExtendedTypes }, false),
		"forceSync":                       boolKey(func(c *Config) *bool { return &c.NoSync }, true),
		"skipACL":                         boolKey(func(c *Config) *bool { return &c.SkipACL }, false),
		"znode.container.checkIntervalMs": durationKey(func(c *Config) *time.Duration { return &c.ReapInterval }),
		"DigestAuthenticationProvider.superDigest": func(p *parser, v string) error {
			p.cfg.SuperDigest = v
			return nil
		},
		"admin.enableServer": adminKey,
	}
	for _, key := range []string{
		"admin.serverPort", "admin.serverAddress", "admin.commandURL", "initLimit", "syncLimit", "standaloneEnabled",
		"reconfigEnabled", "preAllocSize", "emulate353TTLNodes", "electionAlg", "peerType", "leaderServes",
		"globalOutstandingLimit", "clientPortListenBacklog", "serverCnxnFactory",
	} {
		keyTable[key] = ignored
	}
}

func (p *parser) set(key, value string) {
	if rest, ok := strings.CutPrefix(key, "server."); ok && rest != "" {
		p.servers++
		return
	}
	setter := keyTable[strings.TrimPrefix(key, "zookeeper.")]
	if setter == nil {
		p.warnings = append(p.warnings, fmt.Sprintf("%s is not a key of this server and has no effect", key))
		return
	}
	if err := setter(p, value); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s=%s: %w", key, value, err))
	}
}

// durationKey takes milliseconds; -1 and 0 leave the default.
func durationKey(field func(*Config) *time.Duration) keySetter {
	return func(p *parser, v string) error {
		ms, err := strconv.ParseInt(v, 10, 32)
		switch {
		case err != nil:
			return errors.New("not a number of milliseconds")
		case ms < -1:
			return errors.New("must not be negative")
		case ms > 0:
			*field(&p.cfg) = time.Duration(ms) * time.Millisecond
		}
		return nil
	}
}

// intKey takes a number; 0 leaves the default.
func intKey(least int64, field func(*Config) *int) keySetter {
	return func(p *parser, v string) error {
		n, err := strconv.ParseInt(v, 0, 32)
		if err != nil {
			return errors.New("not a number")
		}
		if n < least {
			return fmt.Errorf("must be at least %d", least)
		}
		*field(&p.cfg) = int(n)
		return nil
	}
}

// unboundedKey takes a number of which 0 means "no bound".
func unboundedKey(field func(*Config) *int) keySetter {
	return func(p *parser, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		switch {
		case err != nil:
			return errors.New("not a number")
		case n < 0:
			return errors.New("must not be negative")
		case n == 0:
			n = -1
		}
		*field(&p.cfg) = int(n)
		return nil
	}
}

// boolKey takes yes, no, true and false; opposite stores the contrary.
func boolKey(field func(*Config) *bool, opposite bool) keySetter {
	return func(p *parser, v string) error {
		var on bool
		switch strings.ToLower(v) {
		case "yes", "true":
			on = true
		case "no", "false":
		default:
			return errors.New("must be yes or no")
		}
		*field(&p.cfg) = on != opposite
		return nil
	}
}

func portKey(p *parser, v string) error {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return errors.New("not a port number")
	}
	p.port = strconv.FormatUint(n, 10)
	return nil
}

func refusedKey(why string) keySetter {
	return func(*parser, string) error { return errors.New(why) }
}

// refusedIfTrueKey is for what only matters when it is switched on.
func refusedIfTrueKey(why string) keySetter {
	return func(_ *parser, v string) error {
		if strings.EqualFold(v, "true") {
			return errors.New(why)
		}
		return nil
	}
}

// retainKey sets how many snapshots to keep: at least 3, as in Apache's.
func retainKey(p *parser, v string) error {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		return errors.New("not a number")
	}
	if p.cfg.Retain >= 0 {
		p.cfg.Retain = max(int(n), defaultRetain)
	}
	return nil
}

// purgeKey switches purging off if it is 0. Otherwise snapshots are purged whenever a new one is written, whatever the
// interval; that is also the default, unlike in Apache's, where a directory that nobody tends grows for ever.
func purgeKey(p *parser, v string) error {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		return errors.New("not a number of hours")
	}
	if n <= 0 {
		p.cfg.Retain = -1
	}
	return nil
}

func whitelistKey(p *parser, v string) error {
	p.cfg.Whitelist4lw = []string{}
	for word := range strings.SplitSeq(v, ",") {
		if word = strings.TrimSpace(word); word != "" && !slices.Contains(p.cfg.Whitelist4lw, word) {
			p.cfg.Whitelist4lw = append(p.cfg.Whitelist4lw, word)
		}
	}
	return nil
}

func adminKey(p *parser, v string) error {
	if strings.EqualFold(v, "true") {
		p.warnings = append(p.warnings, "admin.enableServer=true has no effect: this server has no admin port; use four-letter words")
	}
	return nil
}
