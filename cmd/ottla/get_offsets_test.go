package main

import (
	"testing"

	"github.com/ottla/ottla/client"
)

func TestPartitionFilters(t *testing.T) {
	for _, c := range []struct {
		rule, topic string
		partition   int32
		want        bool
	}{
		{"t:1", "t", 1, true}, {"t:1", "t", 2, false}, {"t:1", "u", 1, false},
		{"t", "t", 7, true}, {"t.*", "tx", 0, true},
		{"t:0-3", "t", 2, true}, {"t:0-3", "t", 3, false},
		{"t:5-", "t", 5, true}, {"t:5-", "t", 4, false}, {"t:-3", "t", 2, true}, {"t:-3", "t", 3, false},
		{":1", "any", 1, true}, {"a:1,b:2", "b", 2, true}, {"a:1,b:2", "b", 1, false},
	} {
		match, err := partitionFilters(c.rule)
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if match(c.topic, c.partition) != c.want {
			t.Errorf("%s lets %s-%d through: %v", c.rule, c.topic, c.partition, !c.want)
		}
	}
	for _, rule := range []string{"t:x", "t:1-2-3", "t:1:2"} {
		if _, err := partitionFilters(rule); err == nil {
			t.Errorf("%s was accepted", rule)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]int64{
		"latest": client.Latest, "-1": client.Latest, "earliest": client.Earliest, "-2": client.Earliest, "max-timestamp": client.MaxTimestamp,
		"-3": client.MaxTimestamp, "earliest-local": client.EarliestLocal, "-4": client.EarliestLocal, "latest-tiered": latestTiered, "-5": latestTiered, "1729850400000": 1729850400000,
	} {
		if got, err := parseTime(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "yesterday", "1.5"} {
		if _, err := parseTime(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
