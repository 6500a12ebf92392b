package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/cmd/ottla/internal/kafkalog"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/kerr"
)

// interrupted is the exit code of a command that a signal ended: 128 and the signal's number, as a shell reports it.
func interrupted(ctx context.Context) int {
	cause := context.Cause(ctx).Error()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		if strings.HasPrefix(cause, s.String()) {
			return 128 + int(s)
		}
	}
	return 128 + int(syscall.SIGINT)
}

// parseTool reads the command line of one of Kafka's tools (F§7.0). When done is true the command is over and code is its exit code: usage was
// asked for or nothing was given, the version was asked for, or the line is wrong.
func parseTool(set *flags.Set, args []string, std streams) (code int, done bool) {
	if err := set.Parse(args); err != nil {
		return usageError(set, err, std), true
	}
	switch {
	case len(args) == 0 || set.Given("help"):
		set.PrintUsage(std.err, "")
		return 1, true
	case set.Given("version"):
		return runVersion(context.Background(), nil, std), true
	}
	return 0, false
}

// usageError prints what is wrong with a command line, and the options. The result is the exit code.
func usageError(set *flags.Set, err error, std streams) int {
	set.PrintUsage(std.err, err.Error())
	return 1
}

// userError is a message for a user in Kafka's words, which are sentences: its tools print them as they are.
type userError string

// Error returns the message.
func (e userError) Error() string { return string(e) }

// kafkaError makes a [userError].
func kafkaError(format string, args ...any) error { return userError(fmt.Sprintf(format, args...)) }

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// toolLogger logs the warnings of a tool to its standard error, as Kafka's tools-log4j.properties does.
// KAFKA_TOOLS_LOG4J_LOGLEVEL changes the level, as in Kafka's image.
func toolLogger(w io.Writer, name string) *kafkalog.Logger {
	level := hclog.LevelFromString(os.Getenv("KAFKA_TOOLS_LOG4J_LOGLEVEL"))
	if level == hclog.NoLevel {
		level = hclog.Warn
	}
	return kafkalog.New(kafkalog.Stream(w), name, level, time.Now)
}

// text returns what an error says to a user: for an answer of a broker the message without the code's name, as Kafka prints it.
func text(err error) string {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Text()
	}
	return err.Error()
}

// exception is an error of a broker as Java prints one: the class and the message. An error without a code is one of an unknown server.
func exception(err error) string { return exceptionClass(kerr.CodeOf(err)) + ": " + text(err) }

// unlikeTheirCode are the classes of exceptions that are not named like their code.
var unlikeTheirCode = map[kerr.Code]string{
	kerr.CorruptMessage: "CorruptRecord", kerr.MessageTooLarge: "RecordTooLarge", kerr.RecordListTooLarge: "RecordBatchTooLarge", kerr.RequestTimedOut: "Timeout",
	kerr.OutOfOrderSequenceNumber: "OutOfOrderSequence", kerr.DuplicateSequenceNumber: "DuplicateSequence", kerr.TopicAlreadyExists: "TopicExists", kerr.InvalidConfig: "InvalidConfiguration", kerr.FeatureUpdateFailed: "FeatureUpdateFailed",
}

// exceptionClass is the name of the class of Kafka's clients for a code: mostly the code in other letters.
func exceptionClass(c kerr.Code) string {
	name, other := unlikeTheirCode[c]
	if !other {
		code := c.Name()
		for _, ending := range []string{"_EXCEPTION", "_ERROR", "_FAILED"} {
			code = strings.TrimSuffix(code, ending)
		}
		for word := range strings.SplitSeq(code, "_") {
			name += word[:1] + strings.ToLower(word[1:])
		}
	}
	return "org.apache.kafka.common.errors." + name + "Exception"
}

// pairs reads key=value arguments. A value may contain "=", and an argument without one has an empty value.
func pairs(args []string) config.Properties {
	p := config.Properties{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		p[strings.TrimSpace(key)] = value
	}
	return p
}

// pairsOrError is [pairs] for tools that insist on "=" (CommandLineUtils.parseKeyValueArgs).
func pairsOrError(args []string) (config.Properties, error) {
	for _, arg := range args {
		if key, _, ok := strings.Cut(arg, "="); !ok || key == "" {
			return nil, kafkaError("Invalid command line properties: %s", arg)
		}
	}
	return pairs(args), nil
}

// fileProperties reads a properties file that an option names; no file, no properties.
func fileProperties(o *flags.Option) (config.Properties, error) {
	if !o.Given() {
		return config.Properties{}, nil
	}
	return config.ReadProperties(o.Text())
}

// merge sets a property from an option: what is on the command line wins over the property, the property over the option's default
// (CommandLineUtils.maybeMergeOptions).
func merge(p config.Properties, key string, o *flags.Option) {
	if _, set := p[key]; o.Given() || !set && o.Text() != "" {
		p[key] = o.Text()
	}
}

// warnAll logs the warnings that came with a configuration.
func warnAll(log hclog.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		if w.Severity == config.Warn {
			log.Warn(w.Text)
		} else {
			log.Info(w.Text)
		}
	}
}

// connectionOptions turns settings into the options of a client. Tools go on trying for patience when no broker answers at first, because scripts start
// brokers and tools one right after the other.
func connectionOptions(c config.Connection, patience time.Duration, log hclog.Logger) []client.Option {
	return []client.Option{
		client.ClientID(c.ClientID), client.RequestTimeout(c.RequestTimeout), client.MetadataMaxAge(c.MetadataMaxAge),
		client.RetryBackoff(c.RetryBackoff, c.RetryBackoffMax), client.BootstrapTimeout(patience), client.Logger(log),
	}
}

// number reads a number that a broker sent; 0 when it is none.
func number(text string) int {
	n := 0
	if _, err := fmt.Sscan(text, &n); err != nil {
		return 0
	}
	return n
}
