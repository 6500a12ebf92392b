package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// check judges a value that has the right type. It returns what Kafka says about a bad one, and "" for a good one.
// Null values are not shown to checks.
type check func(v value) string

// number returns the value of a numeric setting of any width.
func (v value) number() float64 {
	if v.typ == Double {
		return v.f
	}
	return float64(v.n)
}

// atLeast accepts numbers from low up (ConfigDef.Range.atLeast).
func atLeast(low int64) check {
	return func(v value) string {
		if v.number() < float64(low) {
			return "Value must be at least " + strconv.FormatInt(low, 10)
		}
		return ""
	}
}

// between accepts numbers from low to high, both included (ConfigDef.Range.between).
func between(low, high int64) check {
	return func(v value) string {
		if v.number() > float64(high) {
			return "Value must be no more than " + strconv.FormatInt(high, 10)
		}
		return atLeast(low)(v)
	}
}

// oneOf accepts the given words, in this case; for a list it judges each element (ConfigDef.ValidString, ValidList).
func oneOf(words ...string) check {
	return func(v value) string {
		items := v.list
		if v.typ != List {
			items = []string{v.s}
		}
		for _, item := range items {
			if !slices.Contains(words, item) {
				return "String must be one of: " + strings.Join(words, ", ")
			}
		}
		return ""
	}
}

// oneOfAnyCase is [oneOf] without regard to case (ConfigDef.CaseInsensitiveValidString).
func oneOfAnyCase(words ...string) check {
	return func(v value) string {
		for _, w := range words {
			if strings.EqualFold(w, v.s) {
				return ""
			}
		}
		return "String must be one of (case insensitive): " + strings.Join(words, ", ")
	}
}

// gzipLevel accepts -1, the codec's own choice, and 1 to 9 (KIP-390).
func gzipLevel(v value) string {
	if v.n == -1 || v.n >= 1 && v.n <= 9 {
		return ""
	}
	return "Value must be between 1 and 9 or equal to -1"
}

// throttledReplica is the form of one element of a throttled replica list.
var throttledReplica = regexp.MustCompile(`^\s*\d+\s*:\s*\d+\s*$`)

// throttledReplicas accepts nothing, "*", and lists of partition:broker (ThrottledReplicaListValidator).
func throttledReplicas(name string) check {
	return func(v value) string {
		if len(v.list) == 0 || len(v.list) == 1 && v.list[0] == "*" {
			return ""
		}
		for _, item := range v.list {
			if !throttledReplica.MatchString(item) {
				return name + " must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
			}
		}
		return ""
	}
}

// kafkaVersion is the form of an inter-broker protocol or message format version, for example 2.8, 3.0-IV1 or 0.11.0.2.
var kafkaVersion = regexp.MustCompile(`^(0\.\d+(\.\d+){0,2}|[1-4]\.\d+(\.\d+)?)(-IV\d+)?$`)

// protocolVersion accepts version numbers of Kafka (ApiVersionValidator).
func protocolVersion(v value) string {
	if kafkaVersion.MatchString(v.s) {
		return ""
	}
	return "Version `" + v.s + "` is not a valid version"
}
