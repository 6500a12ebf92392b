package main

import (
	"syscall"
	"testing"
)

func TestIsServer(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{
		{[]string{"/opt/my dir/bin/ottla", "broker", "server.properties"}, true},
		{[]string{"ottla", "broker"}, true},
		{[]string{"ottla", "zookeeper", "z.properties"}, false},
		{[]string{"/bin/sh", "-c", "bin/ottla broker server.properties"}, false},
		{[]string{"vi", "ottla", "broker"}, false},
		{[]string{"not-ottla", "broker"}, false},
		{[]string{"ottla"}, false},
		{nil, false},
	} {
		if got := isServer(c.args, "broker"); got != c.want {
			t.Errorf("%q: %v", c.args, got)
		}
	}
}

func TestSignalByName(t *testing.T) {
	for name, want := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL, "int": syscall.SIGINT, "9": syscall.SIGKILL} {
		if got, ok := signalByName(name); !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	if _, ok := signalByName("STOP"); ok {
		t.Error("STOP does not stop a server")
	}
}
