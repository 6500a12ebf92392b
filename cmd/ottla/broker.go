package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
)

// stopTimeout bounds an orderly stop.
const stopTimeout = 30 * time.Second

// runBroker is the main class kafka.Kafka (F§7.17): a properties file, then --override key=value as often as wanted. Without a file the environment
// and the overrides have to say everything.
func runBroker(ctx context.Context, args []string, std streams) int {
	set := flags.New("USAGE: ottla broker server.properties [--override property=value]*")
	override := set.Value("override", flags.String, "", "A setting that counts instead of the one in server.properties, as name=value.").Many()
	if slices.Contains(args, "--version") {
		return runVersion(ctx, nil, std)
	}
	file, rest := "", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		file, rest = args[0], args[1:]
	}
	err := set.Parse(rest)
	switch {
	case err != nil:
		return usageError(set, err, std)
	case len(args) == 0 || set.Given("help"):
		set.PrintUsage(std.err, "")
		return 1
	case len(set.Args()) > 0:
		return usageError(set, kafkaError("Found non argument parameters: %s", strings.Join(set.Args(), ",")), std)
	}
	log, closeLog := serverLog(std.out)
	defer closeLog()
	settings, warnings, err := config.Load(file, override.Texts(), os.Environ())
	if err == nil {
		logWarnings(log, warnings)
		err = serveBroker(ctx, broker.Config{Settings: settings, Logger: log}, log)
	}
	if err != nil {
		log.ResetNamed("kafka.Kafka$").Error("Exiting Kafka due to fatal exception", "error", err)
		return 1
	}
	return 0
}

// serveBroker runs a broker until a signal or its own failure ends it.
func serveBroker(ctx context.Context, cfg broker.Config, log hclog.Logger) error {
	b, err := broker.Start(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it was up
		}
		return err
	}
	select {
	case <-ctx.Done():
		logSignal(ctx, log)
	case <-b.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := b.Close(stop); err != nil {
		return errors.Join(b.Err(), fmt.Errorf("stop the broker: %w", err))
	}
	return b.Err()
}

// logSignal says why the process ends, as Kafka's LoggingSignalHandler does.
func logSignal(ctx context.Context, log hclog.Logger) {
	names := map[int]string{128 + 1: "SIGHUP", 128 + 2: "SIGINT", 128 + 15: "SIGTERM"}
	log.ResetNamed("org.apache.kafka.common.utils.LoggingSignalHandler").Info("Terminating process due to signal " + names[interrupted(ctx)])
}

// logWarnings logs what came with a broker's configuration: probable mistakes one by one, and settings without effect together.
func logWarnings(log hclog.Logger, warnings []config.Warning) {
	log = log.ResetNamed("kafka.server.KafkaConfig")
	reasons := map[string][]string{}
	var order []string
	for _, w := range warnings {
		if w.Severity == config.Warn {
			log.Warn(w.Text)
			continue
		}
		_, why, _ := strings.Cut(w.Text, " has no effect: ")
		if reasons[why] == nil {
			order = append(order, why)
		}
		reasons[why] = append(reasons[why], w.Key)
	}
	for _, why := range order {
		log.Info(fmt.Sprintf("without effect, because %s: %s", why, strings.Join(reasons[why], ", ")))
	}
}
