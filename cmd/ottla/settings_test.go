package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/config"
)

// What the tools set by themselves is nothing to warn of; what a user has set without effect is.
func TestToolsWarnOfWhatTheUserHasSetOnly(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // keys
	}{
		{nil, ""},
		{[]string{"property", "transactional.id=t"}, "transactional.id"},
		{[]string{"property", "send.buffer.bytes=1000"}, "send.buffer.bytes"},
		{[]string{"property", "linger.ms=5"}, ""},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			check := func(tool string, warnings []config.Warning, err error) {
				t.Helper()
				var keys []string
				for _, w := range warnings {
					keys = append(keys, w.Key)
				}
				if err != nil || strings.Join(keys, ",") != c.want {
					t.Errorf("%s warns of %v (%v), want %s", tool, keys, err, c.want)
				}
			}
			args := func(kind string) []string {
				all := []string{"--topic", "orders", "--bootstrap-server", "localhost:9092"}
				if len(c.args) > 0 {
					all = append(all, "--"+kind+"-"+c.args[0], c.args[1])
				}
				return all
			}
			producer := newConsoleProducerFlags()
			if err := producer.set.Parse(args("producer")); err != nil {
				t.Fatal(err)
			}
			_, warnings, err := producer.settings(false)
			check("the producer", warnings, err)
			if slices.Contains(c.args, "transactional.id=t") || slices.Contains(c.args, "linger.ms=5") {
				return // a producer's
			}
			consumer := newConsoleConsumerFlags()
			if err := consumer.set.Parse(args("consumer")); err != nil {
				t.Fatal(err)
			}
			src, err := consumer.check()
			if err != nil {
				t.Fatal(err)
			}
			_, warnings, err = consumer.settings(&src)
			check("the consumer", warnings, err)
		})
	}
}
