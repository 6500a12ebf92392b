package config

import (
	"fmt"
	"maps"
	"testing"
)

func TestAlterBrokerLeavesAloneWhatItDoesNotChange(t *testing.T) {
	s, _, err := NewServer(with())
	if err != nil {
		t.Fatal(err)
	}
	// What another program left there, and what would not be accepted today.
	own := map[string]string{"my.plugin.setting": "x", "listener.name.internal.ssl.keystore.location": "/k", "broker.rack": "r", "log.retention.ms": "5"}
	before := maps.Clone(own)
	after, err := s.AlterBroker(own, nil, []Change{{"log.retention.ms", Set, "6"}, {"broker.rack", Delete, ""}})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"my.plugin.setting": "x", "listener.name.internal.ssl.keystore.location": "/k", "log.retention.ms": "6"}; !maps.Equal(after, want) {
		t.Errorf("got %v, want %v", after, want)
	}
	if !maps.Equal(own, before) {
		t.Errorf("the settings that were given have become %v", own)
	}
}

func TestAlterBrokerJudges(t *testing.T) {
	s, _, err := NewServer(with("num.io.threads", "8", "log.cleaner.threads", "4", "log.cleaner.dedupe.buffer.size", "134217728"))
	if err != nil {
		t.Fatal(err)
	}
	const threads = "INVALID_REQUEST: Dynamic thread count update validation failed for num.io.threads="
	for _, c := range []struct {
		name, value, own, all string // what changing it for this broker, and for all, gives
	}{
		{"num.io.threads", "16", "", ""},
		{"num.io.threads", "4", "", ""},
		{"num.io.threads", "3", threads + "3, value should be at least half the current value 8", threads + "3, value should be at least half the current value 8"},
		{"num.io.threads", "17", threads + "17, value should not be greater than double the current value 8", threads + "17, value should not be greater than double the current value 8"},
		{"log.cleaner.threads", "0", "INVALID_REQUEST: Log cleaner threads should be at least 1", "INVALID_REQUEST: Log cleaner threads should be at least 1"},
		{"log.cleaner.threads", "1", "INVALID_REQUEST: Log cleaner threads cannot be reduced to less than half the current value 4", "INVALID_REQUEST: Log cleaner threads cannot be reduced to less than half the current value 4"},
		{"log.cleaner.dedupe.buffer.size", "1000", "INVALID_REQUEST: requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.", "INVALID_REQUEST: requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."},
		{"leader.replication.throttled.rate", "5", "", ""},
		{"listeners", "PLAINTEXT://:1", "INVALID_REQUEST: Cannot update these configs dynamically: Set(listeners)",
			"INVALID_REQUEST: Cannot update these configs at default cluster level, broker id must be specified: Set(listeners)"},
		{"no.such", "1", "INVALID_REQUEST: Cannot update these configs dynamically: Set(no.such)", "INVALID_REQUEST: Cannot update these configs dynamically: Set(no.such)"},
		{"log.cleanup.policy", "forget", "INVALID_REQUEST: Invalid value forget for configuration log.cleanup.policy: String must be one of: compact, delete",
			"INVALID_REQUEST: Invalid value forget for configuration log.cleanup.policy: String must be one of: compact, delete"},
	} {
		text := func(err error) string {
			if err == nil {
				return ""
			}
			return err.Error()
		}
		change := []Change{{c.name, Set, c.value}}
		_, own := s.AlterBroker(nil, nil, change)
		_, all := s.AlterBrokerDefaults(nil, nil, change)
		if text(own) != c.own || text(all) != c.all {
			t.Errorf("%s=%s\nfor one broker %q, want %q\nfor all        %q, want %q", c.name, c.value, text(own), c.own, text(all), c.all)
		}
	}
	// A default that this broker's own setting hides is judged by what it leaves in force.
	if _, err := s.AlterBrokerDefaults(map[string]string{"num.io.threads": "8"}, nil, []Change{{"num.io.threads", Set, "100"}}); err != nil {
		t.Errorf("a default that does not count here: %v", err)
	}
}

func TestAlterTopicLists(t *testing.T) {
	s := new(Server)
	for _, c := range []struct {
		have   string
		op     Operation
		value  string
		policy string
	}{
		{"", Append, "compact", "delete,compact"},
		{"compact", Append, "delete", "compact,delete"},
		{"compact", Append, "compact,delete", "compact,delete"},
		{"compact,delete", Subtract, "compact", "delete"},
		{"delete", Subtract, "compact", "delete"},
		{"", Subtract, "delete", ""},
		{"compact", Delete, "", "<none>"},
		{"compact", Set, " delete , compact ", " delete , compact "},
	} {
		overrides := map[string]string{}
		if c.have != "" {
			overrides["cleanup.policy"] = c.have
		}
		after, err := s.AlterTopic("t", overrides, []Change{{"cleanup.policy", c.op, c.value}})
		got, ok := after["cleanup.policy"]
		if !ok {
			got = "<none>"
		}
		if err != nil || got != c.policy {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestDynamicSettingsThatDoNotFitTogetherChangeNothing(t *testing.T) {
	s, _, err := NewServer(with("message.max.bytes", "5"))
	if err != nil {
		t.Fatal(err)
	}
	s, _ = s.WithDynamic(map[string]string{"message.max.bytes": "6"}, nil)
	same, warnings := s.WithDynamic(map[string]string{"message.max.bytes": "7", "log.retention.ms": "0"}, nil)
	if same.Int("message.max.bytes") != 6 || len(warnings) != 1 {
		t.Errorf("message.max.bytes is %d, warnings %v", same.Int("message.max.bytes"), warnings)
	}
	next, warnings := s.WithDynamic(map[string]string{"listeners": "PLAINTEXT://:1", "message.max.bytes": "7"}, nil)
	if next.Int("message.max.bytes") != 7 || next.Source("listeners") != Default || len(warnings) != 1 {
		t.Errorf("message.max.bytes is %d, listeners from %s, warnings %v", next.Int("message.max.bytes"), next.Source("listeners"), warnings)
	}
	if got := fmt.Sprint(next.DescribeBrokerDefaults()); got != "[]" {
		t.Errorf("what all brokers share: %s", got)
	}
}
