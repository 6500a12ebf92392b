package embedded_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/zk/embedded"
)

func TestProperties(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       embedded.Config
		warnings   int
	}{
		{"Kafka's zookeeper.properties",
			"# comment\ndataDir=/tmp/zookeeper\nclientPort=2181\nmaxClientCnxns=0\nadmin.enableServer=false\n# admin.serverPort=8080\n",
			embedded.Config{DataDir: "/tmp/zookeeper", Addr: ":2181", MaxClientCnxns: -1}, 0},
		{"zoo_sample.cfg",
			"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/tmp/zookeeper\nclientPort=2181\n",
			embedded.Config{DataDir: "/tmp/zookeeper", Addr: ":2181", TickTime: 2 * time.Second}, 0},
		{"go-zookeeper's", "admin.enableServer=false\ndataDir=/d\ntickTime=500\ninitLimit=10\nsyncLimit=5\nclientPort=12345\n" +
			"reconfigEnabled=true\nenforce.auth.enabled=false\n4lw.commands.whitelist=*\n",
			embedded.Config{DataDir: "/d", Addr: ":12345", TickTime: 500 * time.Millisecond, Whitelist4lw: []string{"*"}}, 0},
		{"everything", "dataDir : /d\ndataLogDir /l\nclientPort=0\nclientPortAddress=127.0.0.1\nminSessionTimeout=1000\n" +
			"maxSessionTimeout=2000\nmaxCnxns=7\nmaxClientCnxns=8\nautopurge.snapRetainCount=5\nautopurge.purgeInterval=1\n" +
			"snapCount=50\njute.maxbuffer=0x1fffff\n4lw.commands.whitelist=ruok, srvr,ruok\nextendedTypesEnabled=true\nforceSync=no\n" +
			"skipACL=yes\nznode.container.checkIntervalMs=100\nDigestAuthenticationProvider.superDigest=super:x\nserver.1=a:1:2\n",
			embedded.Config{
				DataDir: "/d", DataLogDir: "/l", Addr: "127.0.0.1:0", MinSessionTimeout: time.Second, MaxSessionTimeout: 2 * time.Second,
				MaxClientCnxns: 8, Retain: 5, SnapCount: 50, NoSync: true, Whitelist4lw: []string{"ruok", "srvr"},
				SuperDigest: "super:x", ExtendedTypes: true, SkipACL: true, ReapInterval: 100 * time.Millisecond,
				Limits: embedded.Limits{MaxConnections: 7, MaxFrame: 0x1fffff},
			}, 0},
		{"no expansion, no purge, unknown keys",
			"dataDir=/d/${HOME}\nclientPort=1\nautopurge.purgeInterval=0\nautopurge.snapRetainCount=9\nnonsense=1\nadmin.enableServer=true\n",
			embedded.Config{DataDir: "/d/${HOME}", Addr: ":1", Retain: -1}, 2},
		{"the last of two values", "dataDir=/a\nclientPort=1\ndataDir=/b\n", embedded.Config{DataDir: "/b", Addr: ":1"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, warnings, err := embedded.ParseProperties([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(warnings) != tt.warnings {
				t.Errorf("warnings: %q", warnings)
			}
		})
	}
}

func TestBadProperties(t *testing.T) {
	const good = "dataDir=/d\nclientPort=2181\n"
	for text, want := range map[string][]string{
		"":                              {"dataDir is not set", "clientPort is not set"},
		good + "server.1=a\nserver.2=b": {"2 servers", "standalone"},
		good + "secureClientPort=2182":  {"secureClientPort", "TLS"},
		good + "dynamicConfigFile=/etc/zoo.dynamic": {"dynamicConfigFile", "standalone"},
		good + "sessionRequireClientSASLAuth=true":  {"sessionRequireClientSASLAuth", "SASL"},
		good + "enforce.auth.enabled=true":          {"enforce.auth.enabled", "authentication"},
		good + "tickTime=soon":                      {"tickTime=soon", "milliseconds"},
		good + "clientPort=99999":                   {"clientPort=99999", "port"},
		good + "forceSync=maybe":                    {"forceSync=maybe", "yes or no"},
		good + "maxClientCnxns=-2\nsnapCount=x":     {"maxClientCnxns=-2", "snapCount=x"},
	} {
		_, _, err := embedded.ParseProperties([]byte(text))
		if err == nil {
			t.Errorf("%q was accepted", text)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, which does not say %q", text, err, part)
			}
		}
	}
}

func TestJVMFlags(t *testing.T) {
	cfg := embedded.Config{DataDir: "/d"}
	warnings, err := cfg.ApplyJVMFlags("-Xmx512m -Dzookeeper.DigestAuthenticationProvider.superDigest=super:D/In= " +
		"-Dzookeeper.extendedTypesEnabled=true -Dzookeeper.emulate353TTLNodes=true -Djute.maxbuffer=2000 -Dother=1 -Dzookeeper.odd=1")
	if err != nil || len(warnings) != 1 {
		t.Errorf("%q, %v", warnings, err)
	}
	want := embedded.Config{DataDir: "/d", SuperDigest: "super:D/In=", ExtendedTypes: true, Limits: embedded.Limits{MaxFrame: 2000}}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := cfg.ApplyJVMFlags("-Dzookeeper.snapCount=x"); err == nil {
		t.Error("a bad number was accepted")
	}
}

func TestBadConfig(t *testing.T) {
	for want, cfg := range map[string]embedded.Config{
		"dataDir":          {},
		"session timeouts": {DataDir: "/d", MinSessionTimeout: time.Minute, MaxSessionTimeout: time.Second},
		"tick":             {DataDir: "/d", TickTime: time.Microsecond},
	} {
		if _, err := embedded.Start(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("dataDir=/d\nclientPort=2181\n"))
	f.Add([]byte("a\\u00e9 : b\\\n c\n!x"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _, _ = embedded.ParseProperties(text) })
}
