package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
)

func TestParseAddConfig(t *testing.T) {
	const badForm = `! requirement failed: Invalid entity config: all configs to be added must be in the format "key=val".`
	for _, c := range []struct{ text, want string }{
		{"a=1", "a=1"},
		{"a=1,b=2", "a=1;b=2"},
		{" a = 1 , b = 2 ", "a=1;b=2"},
		{"a=[1,2],b=3", "a=1,2;b=3"},
		{"a=[x=1,y=2]", "a=x=1,y=2"},
		{"a=", "a="},
		{"a=,b=", "a=;b="},
		{"a=1,a=2", "a=2"},
		{"a=1,,", "a=1"},
		{",", ""},
		{"=1", "=1"},
		{"SCRAM-SHA-256=[iterations=8192,password=alice-secret]", "SCRAM-SHA-256=iterations=8192,password=alice-secret"},
		{"", badForm},
		{"a", badForm},
		{"a=1,b", badForm},
		{",a=1", badForm},
		{"a=1=2", badForm},
		{"a b=1", "! Invalid character found for config key: a b"},
		{"ä=1", "! Invalid character found for config key: ä"},
	} {
		got := ""
		if p, err := parseAddConfig(c.text); err != nil {
			got = "! " + err.Error()
		} else {
			var pairs []string
			for _, name := range sortedNames(p) {
				pairs = append(pairs, name+"="+p[name])
			}
			got = strings.Join(pairs, ";")
		}
		if got != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// splitSlowly is splitOutsideBrackets as Kafka's regular expression says it: sep, when what follows up to the first "]" contains a "[", or no "]"
// follows at all.
func splitSlowly(text string, sep byte) []string {
	var parts []string
	from := 0
	for i := range len(text) {
		if text[i] != sep {
			continue
		}
		before, _, closes := strings.Cut(text[i+1:], "]")
		if !closes || strings.Contains(before, "[") {
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

func FuzzParseAddConfig(f *testing.F) {
	for _, seed := range []string{"a=1,b=[2,3],c=4", "a=[b=c,d=e]", "]a,[b=],", "[,],[=]=,", " = , "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, sep := range []byte{',', '='} {
			if diff := cmp.Diff(splitSlowly(text, sep), splitOutsideBrackets(text, sep)); diff != "" {
				t.Errorf("%q at %q (-want +got)\n%s", text, sep, diff)
			}
		}
		p, err := parseAddConfig(text)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		// What was understood can be said again.
		var items []string
		for _, name := range sortedNames(p) {
			if strings.ContainsAny(p[name], "[]") {
				t.Errorf("%q: %s=%s", text, name, p[name])
			}
			items = append(items, fmt.Sprintf("%s=[%s]", name, p[name]))
		}
		if len(items) == 0 {
			return
		}
		again, err := parseAddConfig(strings.Join(items, ","))
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Errorf("%q, again as %q: %v (-first +again)\n%s", text, items, err, diff)
		}
	})
}

func TestParseOffsets(t *testing.T) {
	got, err := parseOffsets([]byte(`{"more":1,"partitions":[{"topic":"t","partition":1,"offset":5},{"topic":"t","partition":0,"offset":-1}]}`))
	want := map[cluster.TopicPartition]cluster.Offset{{Topic: "t", Partition: 1}: 5, {Topic: "t"}: -1}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for text, want := range map[string]string{
		`{}`:                             "Missing partitions field",
		`{"version":3,"partitions":[]}`:  "Not supported version field value 3",
		`{"partitions":[{"topic":"t"}]}`: "Each of the partitions needs the fields topic, partition and offset",
		`{"partitions":[{"topic":"t","partition":4294967296,"offset":1}]}`: "The input string is not a valid JSON: json: cannot unmarshal number 4294967296 into Go struct field .partitions.partition of type int32",
	} {
		if _, err := parseOffsets([]byte(text)); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
