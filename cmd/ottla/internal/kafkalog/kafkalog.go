// Package kafkalog writes log lines in the layout of Kafka's log files, [date] LEVEL message (logger), so that whoever reads or
// parses those files finds what they know:
//
//	[2024-10-25 10:00:00,123] INFO [KafkaServer id=1] started (kafka.server.KafkaServer)
//
// Pairs of key and value follow the message: "entering follower state leader=1 epoch=7". A [Logger] is an hclog.Logger; all loggers
// derived from one share its [Sink] and its level and are safe for concurrent use.
package kafkalog

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
)

// Sink takes finished lines. Write is called with one whole line, newline included, and by one goroutine at a time for each sink.
type Sink interface {
	// Write stores a line that a logger of this category wrote at this time. The line is valid during the call only.
	Write(at time.Time, level hclog.Level, category string, line []byte)
}

// Stream is the sink that writes everything to w.
func Stream(w io.Writer) Sink { return stream{w} }

// Above is the sink that passes on what is of this level or a higher one.
func Above(level hclog.Level, to Sink) Sink { return above{level, to} }

// Tee is the sink that passes everything on to several.
func Tee(to ...Sink) Sink { return tee(to) }

// above filters by level.
type above struct {
	level hclog.Level
	to    Sink
}

// Write implements [Sink].
func (a above) Write(at time.Time, level hclog.Level, category string, line []byte) {
	if level >= a.level {
		a.to.Write(at, level, category, line)
	}
}

// tee copies.
type tee []Sink

// Write implements [Sink].
func (t tee) Write(at time.Time, level hclog.Level, category string, line []byte) {
	for _, s := range t {
		s.Write(at, level, category, line)
	}
}

// stream writes lines to a writer. What cannot be written is lost: there is nowhere to say so.
type stream struct{ w io.Writer }

// Write implements [Sink].
func (s stream) Write(_ time.Time, _ hclog.Level, _ string, line []byte) { _, _ = s.w.Write(line) }

// Logger is an hclog.Logger in Kafka's layout.
type Logger struct {
	shared  *shared
	name    string
	implied []any
}

// shared is what all loggers of a family have in common.
type shared struct {
	level    atomic.Int32
	now      func() time.Time
	category func(name string) string // nil for the name itself

	mu   sync.Mutex // guards sink and buf
	sink Sink
	buf  bytes.Buffer
}

var _ hclog.Logger = (*Logger)(nil)

// New returns the logger that others are derived from. now is the clock for the dates, time.Now outside tests.
func New(sink Sink, name string, level hclog.Level, now func() time.Time) *Logger {
	s := &shared{sink: sink, now: now}
	s.level.Store(int32(level))
	return &Logger{shared: s, name: name}
}

// NewServer returns a logger without a name for a server. In the place of its rooms' names the lines have those of the classes of Kafka that do the
// same, see [ServerCategory], because that is what operators search and filter by.
func NewServer(sink Sink, level hclog.Level, now func() time.Time) *Logger {
	l := New(sink, "", level, now)
	l.shared.category = ServerCategory
	return l
}

// categories maps the rooms of a broker to Kafka's classes.
var categories = map[string]string{
	"":                   "kafka.server.KafkaServer",
	"log":                "kafka.log.LogManager",
	"replica":            "kafka.server.ReplicaManager",
	"server":             "kafka.server.KafkaApis",
	"network":            "kafka.network.SocketServer",
	"zookeeper":          "kafka.zookeeper.ZooKeeperClient",
	"settings":           "kafka.server.DynamicConfigManager",
	"controller":         "kafka.controller.KafkaController",
	"controller.channel": "kafka.controller.RequestSendThread",
}

// ServerCategory returns what stands in parentheses for a logger of a broker: the class of Kafka for a room that has one, and the name itself for others.
func ServerCategory(name string) string {
	if c, ok := categories[name]; ok {
		return c
	}
	if room, rest, ok := strings.Cut(name, "."); ok && categories[room] != "" {
		return categories[room] + "." + rest
	}
	return name
}

// Log writes a message and pairs of key and value, if the level is on.
func (l *Logger) Log(level hclog.Level, msg string, args ...any) {
	if !l.on(level) {
		return
	}
	s := l.shared
	at := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset()
	s.buf.WriteByte('[')
	s.buf.Write(at.AppendFormat(s.buf.AvailableBuffer(), "2006-01-02 15:04:05,000"))
	s.buf.WriteString("] ")
	s.buf.WriteString(levelName(level))
	s.buf.WriteByte(' ')
	s.buf.WriteString(msg)
	writePairs(&s.buf, l.implied)
	writePairs(&s.buf, args)
	category := l.name
	if s.category != nil {
		category = s.category(category)
	}
	if category != "" {
		s.buf.WriteString(" (")
		s.buf.WriteString(category)
		s.buf.WriteByte(')')
	}
	s.buf.WriteByte('\n')
	s.sink.Write(at, level, category, s.buf.Bytes())
}

// on reports whether a level is written.
func (l *Logger) on(level hclog.Level) bool {
	return level != hclog.Off && int32(level) >= l.shared.level.Load()
}

// levelName returns log4j's name of a level.
func levelName(level hclog.Level) string {
	switch level {
	case hclog.Trace:
		return "TRACE"
	case hclog.Debug:
		return "DEBUG"
	case hclog.Warn:
		return "WARN"
	case hclog.Error:
		return "ERROR"
	case hclog.NoLevel, hclog.Info, hclog.Off:
	}
	return "INFO"
}

// writePairs appends " key=value" for each pair; a last value without key is called EXTRA_VALUE_AT_END, as hclog does.
func writePairs(b *bytes.Buffer, args []any) {
	for i := 0; i < len(args); i += 2 {
		key, value := any(hclog.MissingKey), args[i]
		if i+1 < len(args) {
			key, value = args[i], args[i+1]
		}
		b.WriteByte(' ')
		fmt.Fprint(b, key)
		b.WriteByte('=')
		writeValue(b, value)
	}
}

// writeValue appends a value, quoted if it has blanks, quotes or control characters in it or is empty: a line of log is one line.
func writeValue(b *bytes.Buffer, value any) {
	var text string
	switch v := value.(type) {
	case hclog.Format:
		if len(v) == 0 {
			break
		}
		if format, ok := v[0].(string); ok {
			text = fmt.Sprintf(format, v[1:]...)
		}
	case hclog.Hex:
		text = "0x" + strconv.FormatUint(uint64(v), 16)
	case error:
		text = v.Error()
	default:
		text = fmt.Sprint(v)
	}
	plain := text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r == '"' || r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	if plain {
		b.WriteString(text)
		return
	}
	b.WriteString(strconv.Quote(text))
}

// Trace implements hclog.Logger.
func (l *Logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }

// Debug implements hclog.Logger.
func (l *Logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (l *Logger) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (l *Logger) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (l *Logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

// IsTrace implements hclog.Logger.
func (l *Logger) IsTrace() bool { return l.on(hclog.Trace) }

// IsDebug implements hclog.Logger.
func (l *Logger) IsDebug() bool { return l.on(hclog.Debug) }

// IsInfo implements hclog.Logger.
func (l *Logger) IsInfo() bool { return l.on(hclog.Info) }

// IsWarn implements hclog.Logger.
func (l *Logger) IsWarn() bool { return l.on(hclog.Warn) }

// IsError implements hclog.Logger.
func (l *Logger) IsError() bool { return l.on(hclog.Error) }

// ImpliedArgs returns the pairs that are part of every line.
func (l *Logger) ImpliedArgs() []any { return l.implied }

// With returns a logger whose lines have these pairs too.
func (l *Logger) With(args ...any) hclog.Logger {
	c := *l
	c.implied = append(append([]any{}, l.implied...), args...)
	return &c
}

// Name returns the name in parentheses.
func (l *Logger) Name() string { return l.name }

// Named returns a logger with a longer name; the parts are joined by dots.
func (l *Logger) Named(name string) hclog.Logger {
	c := *l
	if l.name != "" {
		name = l.name + "." + name
	}
	c.name = name
	return &c
}

// ResetNamed returns a logger with another name.
func (l *Logger) ResetNamed(name string) hclog.Logger {
	c := *l
	c.name = name
	return &c
}

// SetLevel changes the level of the whole family.
func (l *Logger) SetLevel(level hclog.Level) { l.shared.level.Store(int32(level)) }

// GetLevel returns the level of the family.
func (l *Logger) GetLevel() hclog.Level { return hclog.Level(l.shared.level.Load()) }

// StandardLogger returns a logger of package log whose lines end up here at the level INFO.
func (l *Logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(nil), "", 0)
}

// StandardWriter returns a writer each of whose writes is a message at the level INFO.
func (l *Logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return messages{l} }

// messages turns writes into messages.
type messages struct{ l *Logger }

// Write implements io.Writer.
func (m messages) Write(p []byte) (int, error) {
	m.l.Info(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}
