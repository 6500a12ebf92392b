package flags

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is a command with an option of every sort.
func sample() (*Set, map[string]*Option) {
	s := New("Does nothing.")
	return s, map[string]*Option{
		"list":   s.Flag("list", "List things."),
		"topic":  s.Value("topic", String, "topic", "The topic.").Required(),
		"config": s.Value("config", String, "name=value", "A setting.").Many(),
		"n":      s.Value("partitions", Integer, "# of partitions", "How many."),
		"time":   s.Value("time", String, "", "When.").Default("latest"),
		"codec":  s.Value("compression-codec", String, "compression-codec", "How to compress.").Optional(),
		"rate":   s.Value("rate", Double, "", "How fast."),
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"--list --topic t", "list topic=t"},
		{"--topic=t=u", "topic=t=u"},
		{"--topic=", "topic="},
		{"-topic t -list", "list topic=t"},
		{"--config a=1 --config=b=2", "config=a=1,b=2"},
		{"--time -1", "time=-1"},
		{"--time -1 --list", "list time=-1"},
		{"--compression-codec", "codec"},
		{"--compression-codec zstd", "codec=zstd"},
		{"--compression-codec --list", "list codec"},
		{"--compression-codec=lz4 x", "codec=lz4 [x]"},
		{"x --topic t y -- --list", "topic=t [x y --list]"},
		{"--topic -", "topic=-"},
		{"--partitions 3", "n=3"},
		{"--rate 1.5", "rate=1.5"},
		{"--top t", "! top is not a recognized option"},
		{"--nope=1", "! nope is not a recognized option"},
		{"--topic", "! Option topic requires an argument"},
		{"--topic --list", "! Option topic requires an argument"},
		{"--topic a --topic b", "! Found multiple arguments for option topic, but you asked for only one"},
		{"--partitions abc", "! Cannot parse argument 'abc' of option partitions"},
		{"--partitions 2147483648", "! Cannot parse argument '2147483648' of option partitions"},
		{"--list=yes", "! Option list does not take an argument"},
	} {
		s, options := sample()
		got := ""
		if err := s.Parse(strings.Fields(c.line)); err != nil {
			got = "! " + err.Error()
		} else {
			var parts []string
			for _, name := range []string{"list", "topic", "config", "n", "time", "codec", "rate"} {
				if o := options[name]; len(o.values) > 0 {
					parts = append(parts, name+"="+strings.Join(o.Texts(), ","))
				} else if o.Given() {
					parts = append(parts, name)
				}
			}
			if len(s.Args()) > 0 {
				parts = append(parts, "["+strings.Join(s.Args(), " ")+"]")
			}
			got = strings.Join(parts, " ")
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestDefaultsAndChecks(t *testing.T) {
	s, o := sample()
	if err := s.Parse([]string{"--list", "--config", "a=b"}); err != nil {
		t.Fatal(err)
	}
	if o["time"].Text() != "latest" || o["time"].Given() || o["n"].Int() != 0 || o["topic"].Text() != "" || o["rate"].Float() != 0 {
		t.Errorf("defaults: %q %v %d", o["time"].Text(), o["time"].Given(), o["n"].Int())
	}
	if err := s.CheckRequired(o["list"], o["topic"]); err == nil || err.Error() != `Missing required argument "[topic]"` {
		t.Errorf("required: %v", err)
	}
	if err := CheckInvalid(o["list"], o["list"], o["n"], o["config"]); err == nil || err.Error() != `Option "[list]" can't be used with option "[config]"` {
		t.Errorf("invalid: %v", err)
	}
}

func TestPrintUsage(t *testing.T) {
	s := New("Shows what a table of options looks like.")
	s.Value("bootstrap-server", String, "server to connect to", "The servers to connect to, host1:port1,host2:port2. This text is long enough for a second and a third line.").Required()
	s.Value("time", String, "", "When.").Default("latest")
	s.Value("compression-codec", String, "compression-codec", "How to compress.").Optional()
	var b strings.Builder
	s.PrintUsage(&b, "")
	want := strings.Join([]string{
		"Shows what a table of options looks like.",
		"Option                                   Description                            ",
		"------                                   -----------                            ",
		"--bootstrap-server <String: server to    (required) The servers to connect to,  ",
		"  connect to>                              host1:port1,host2:port2. This text is",
		"                                           long enough for a second and a third ",
		"                                           line.                                ",
		"--compression-codec [String:             How to compress.                       ",
		"  compression-codec]                                                            ",
		"--help                                   Print usage information.               ",
		"--time <String>                          When. (default: latest)                ",
		"--version                                Display the version.                   ",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
