package config

import (
	"fmt"
	"slices"
	"strings"
)

// UpdateMode says how a broker setting can change while the broker runs.
type UpdateMode int8

// The update modes of broker settings.
const (
	// ReadOnly settings need a restart.
	ReadOnly UpdateMode = iota
	// PerBroker settings can change for one broker.
	PerBroker
	// ClusterWide settings can change for one broker or for all.
	ClusterWide
)

// String returns Kafka's name of the mode.
func (m UpdateMode) String() string {
	switch m {
	case PerBroker:
		return "per-broker"
	case ClusterWide:
		return "cluster-wide"
	case ReadOnly:
	}
	return "read-only"
}

// Key describes one setting. Keys are made by the tables of this package only.
type Key struct {
	// Name is the name in a properties file.
	Name string
	// Type is the type of the value.
	Type Type
	// Default is the text of the value that applies when nothing is set. It means nothing if Null or Required is true.
	Default string
	// Null is true for a setting that has no value unless it is set.
	Null bool
	// Required is true for a setting that has to be set.
	Required bool
	// Update says when a broker setting can change.
	Update UpdateMode
	// Dynamic is true for a broker setting that exists only in ZooKeeper, never in a file.
	Dynamic bool
	// Doc says what the setting is for, in a sentence.
	Doc string

	check check
}

// changeable reports whether a broker setting can change while the broker runs. Kafka also changes listeners, and what protects them, one broker at
// a time; that is not available yet.
func (k *Key) changeable() bool { return k.Update == ClusterWide || k.Dynamic }

// Error says what is wrong with the value of a setting, in Kafka's words (ConfigException).
type Error struct {
	// Key is the name of the setting, "" when several are at odds.
	Key string
	// Text is the whole message.
	Text string
}

// Error returns the message.
func (e *Error) Error() string { return e.Text }

// invalid makes the error for a bad value. The values of passwords do not appear.
func (k *Key) invalid(text, why string) *Error {
	if k.Type == Password {
		text = "[hidden]"
	}
	return &Error{Key: k.Name, Text: fmt.Sprintf("Invalid value %s for configuration %s: %s", text, k.Name, why)}
}

// parse reads and checks the text of a value.
func (k *Key) parse(text string) (value, error) {
	v, why := k.Type.parse(text)
	if why == "" && k.check != nil {
		why = k.check(v)
	}
	if why != "" {
		return value{}, k.invalid(text, why)
	}
	return v, nil
}

// fallback returns the default value. Defaults are constants of the tables, which the tests check.
func (k *Key) fallback() value {
	if k.Null || k.Required {
		return value{typ: k.Type, null: true}
	}
	v, why := k.Type.parse(k.Default)
	if why != "" {
		panic("config: default of " + k.Name + ": " + why)
	}
	return v
}

// keySet is a table with its index by name.
type keySet struct {
	keys   []*Key // sorted by name
	byName map[string]*Key
}

// newKeySet indexes tables. A name that comes twice is a mistake in a table.
func newKeySet(tables ...[]Key) *keySet {
	set := &keySet{byName: map[string]*Key{}}
	for _, table := range tables {
		for i := range table {
			k := &table[i]
			if set.byName[k.Name] != nil {
				panic("config: two rows for " + k.Name)
			}
			set.byName[k.Name] = k
			set.keys = append(set.keys, k)
		}
	}
	slices.SortFunc(set.keys, func(a, b *Key) int { return strings.Compare(a.Name, b.Name) })
	return set
}

// nearest returns the known name that a mistyped one was most likely meant to be, or "" when none is near.
func (set *keySet) nearest(name string) string {
	best, bestDistance := "", 1+max(1, len(name)/5)
	for _, k := range set.keys {
		if d := editDistance(strings.ToLower(name), k.Name, bestDistance); d < bestDistance {
			best, bestDistance = k.Name, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b. It returns limit as soon as the count cannot
// stay below it.
func editDistance(a, b string, limit int) int {
	if abs(len(a)-len(b)) >= limit {
		return limit
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		if slices.Min(row) >= limit {
			return limit
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

// abs returns the magnitude of n.
func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
