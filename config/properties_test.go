package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePropertiesReadsJavaSyntax(t *testing.T) {
	text := strings.Join([]string{
		"# a comment",
		"! another = comment",
		"",
		"plain=value",
		"  indented = value with blanks ",
		"colon: value",
		"blank value",
		"empty=",
		"alone",
		"equals=a=b:c",
		`continued=one,\`,
		`    two,\`,
		`    three`,
		`escaped\ key=tab\there`,
		`unicode=\u00e9`,
		"expansion=${plain} $x ${unclosed",
		"twice=first",
		"twice=second",
		"windows=line\r",
	}, "\n")
	got, err := ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := Properties{
		"plain": "value", "indented": "value with blanks ", "colon": "value", "blank": "value", "empty": "", "alone": "",
		"equals": "a=b:c", "continued": "one,two,three", "escaped key": "tab\there", "unicode": "é",
		"expansion": "${plain} $x ${unclosed", "twice": "second", "windows": "line",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParsePropertiesTakesUTF8AndLatin1(t *testing.T) {
	for name, data := range map[string]string{"utf-8": "log.dirs=/é", "latin-1": "log.dirs=/\xe9"} {
		got, err := ParseProperties([]byte(data))
		if err != nil || got["log.dirs"] != "/é" {
			t.Errorf("%s: got %q, %v", name, got["log.dirs"], err)
		}
	}
}

func TestReadPropertiesNamesTheFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.properties")
	_, err := ReadProperties(missing)
	if err == nil || !os.IsNotExist(unwrapAll(err)) || !strings.Contains(err.Error(), missing+": no such file") {
		t.Errorf("missing file: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "bad.properties")
	if err := os.WriteFile(bad, []byte(`a=\u12`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadProperties(bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("malformed file: %v", err)
	}
}

// unwrapAll returns the innermost error.
func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

func FuzzParseProperties(f *testing.F) {
	for _, seed := range []string{"a=b", "a:b\\\n c", "\\u00e9=\\t", "=x", "a", "\\", "${a}=${b}", "\xff\xfe", "#", "a=\\u12", "a\r\nb=1\r"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProperties(data)
		if err != nil {
			return
		}
		total := 0
		for k, v := range p {
			total += len(k) + len(v)
		}
		if total > 3*len(data)+16 { // U+FFFD and Latin-1 take up to three bytes for one
			t.Errorf("%d bytes became %d", len(data), total)
		}
	})
}

func TestFromEnvironFollowsTheImagesRule(t *testing.T) {
	got := FromEnviron([]string{
		"KAFKA_LOG_DIRS=/a,/b", "KAFKA_ZOOKEEPER_CONNECT=zk:2181/x=y", "KAFKA_A__B=underscore", "KAFKA_A___B=dash",
		"KAFKA_HEAP_OPTS=-Xmx1G", "KAFKA_OPTS=x", "KAFKA_LOG4J_OPTS=x", "KAFKA_JVM_PERFORMANCE_OPTS=x", "KAFKA_DEBUG=y", "KAFKA_VERSION=3.9.0", "KAFKA_GC_LOG_OPTS=x", "KAFKA_JMX_OPTS=x",
		"KAFKA_PORT=tcp://10.0.0.1:9092", "KAFKA_SERVICE_HOST=10.0.0.1", "KAFKA_PORT_9092_TCP_ADDR=10.0.0.1", "KAFKA_BROKER_SERVICE_PORT_CLIENT=9092",
		"KAFKA_=x", "LOG_DIRS=/c", "PATH=/bin", "KAFKA_BROKER_RACK=",
	})
	want := Properties{"log.dirs": "/a,/b", "zookeeper.connect": "zk:2181/x=y", "a_b": "underscore", "a-b": "dash", "broker.rack": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEveryKeyHasAVariableThatIsReadBack(t *testing.T) {
	for _, k := range BrokerKeys() {
		if k.Name == "zookeeper.clientCnxnSocket" { // the image's rule lowers every letter
			continue
		}
		got := FromEnviron([]string{VariableOfKey(k.Name) + "=v"})
		if got[k.Name] != "v" {
			t.Errorf("%s: %s is read as %v", k.Name, VariableOfKey(k.Name), got)
		}
	}
}
