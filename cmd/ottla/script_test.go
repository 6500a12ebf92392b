package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary serve as ottla: the scripts run it under that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ottla": main})
}

// scriptPatience bounds a script, and the start and the end of each server in it.
const scriptPatience = 30 * time.Second

// TestScripts runs the black-box scripts of testdata/script: they use command lines, output and exit codes only. Besides the commands of package
// testscript there are
//
//	exit CODE ARGS…  run "ottla ARGS…" and check its exit code
//	until RE ARGS…   run "ottla ARGS…" again and again until it succeeds and its output matches the regular expression
//	mask             write the output of the last command, without topic ids, times and the like, to the file masked
//	start ARGS…      run "ottla ARGS…" in the background until it says that it is ready, and set BOOTSTRAP and ZOOKEEPER to its addresses
//	signal NAME      send the process that was started last a signal, and wait until it has ended well
//
// and the variables ROOT, the root of the source tree, and BIN, the directory of the binary.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := exec.LookPath("ottla")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			servers := &scriptServers{}
			env.Values[serversKey{}] = servers
			env.Defer(servers.killAll)
			env.Setenv("ROOT", root)
			env.Setenv("BIN", filepath.Dir(binary))
			env.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector each command would take a second longer
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exit": scriptExit, "until": scriptUntil, "mask": scriptMask, "start": scriptStart, "signal": scriptSignal,
		},
	})
}

// scriptExit is the command exit.
func scriptExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: exit CODE ARGS…")
	}
	code := 0
	err := ts.Exec("ottla", args[1:]...)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// scriptUntil is the command until.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until RE ARGS…")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	end := time.After(scriptPatience)
	for {
		if err := ts.Exec("ottla", args[1:]...); err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-end:
			ts.Fatalf("no output that matches %s after %v", args[0], scriptPatience)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// What differs from run to run.
var (
	topicID = regexp.MustCompile(`TopicId: [A-Za-z0-9_-]{22}`)
	stamp   = regexp.MustCompile(`(CreateTime|LogAppendTime|"timestamp"):\d{13}`)
	rate    = regexp.MustCompile(`"avg_throughput":[0-9.]+`)
	reason  = regexp.MustCompile(`"message":"[^"]+"`)
)

// scriptMask is the command mask.
func scriptMask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: mask")
	}
	text := stamp.ReplaceAllString(topicID.ReplaceAllString(ts.ReadFile("stdout"), "TopicId: ID"), "$1:TIME")
	text = reason.ReplaceAllString(rate.ReplaceAllString(text, `"avg_throughput":RATE`), `"message":"MESSAGE"`)
	ts.Check(os.WriteFile(ts.MkAbs("masked"), []byte(text), 0o600))
}

// serversKey is where a script keeps its servers.
type serversKey struct{}

// scriptServers are the processes that a script started and that have not been stopped.
type scriptServers struct{ running []*scriptServer }

// scriptServer is one of them.
type scriptServer struct {
	cmd  *exec.Cmd
	done chan error // what Wait said
}

// killAll ends what is left.
func (s *scriptServers) killAll() {
	for _, b := range s.running {
		_ = b.cmd.Process.Kill()
		<-b.done
	}
}

// Lines that tell addresses, and that a server is ready.
var (
	brokerAddr    = regexp.MustCompile(`broker +(localhost:\d+)|addresses=\[PLAINTEXT://([^\]]+)\]`)
	zooKeeperAddr = regexp.MustCompile(`ZooKeeper +(localhost:\d+)|zookeeper server started address=(\S+)`)
	ready         = regexp.MustCompile(`^Ctrl-C stops|\] started|zookeeper server started`)
)

// scriptStart is the command start.
func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: start ARGS…")
	}
	cmd := exec.Command(filepath.Join(ts.Getenv("BIN"), "ottla"), args...)
	cmd.Args[0], cmd.Dir, cmd.Env = "ottla", ts.MkAbs("."), scriptEnvironment(ts)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	ts.Check(cmd.Start())
	server := &scriptServer{cmd, make(chan error, 1)}
	servers := ts.Value(serversKey{}).(*scriptServers)
	servers.running = append(servers.running, server)
	found := make(chan error, 1)
	go func() {
		scan := bufio.NewScanner(out)
		isReady := false
		for !isReady && scan.Scan() {
			for name, re := range map[string]*regexp.Regexp{"BOOTSTRAP": brokerAddr, "ZOOKEEPER": zooKeeperAddr} {
				if m := re.FindStringSubmatch(scan.Text()); m != nil {
					ts.Setenv(name, m[1]+m[2]) // the script waits for found
				}
			}
			isReady = ready.MatchString(scan.Text())
		}
		if isReady {
			found <- nil
		}
		_, _ = io.Copy(io.Discard, out) // keep the pipe empty
		ended := cmd.Wait()
		if !isReady {
			found <- errors.Join(errors.New("it ended before it was ready: "+messages.String()), ended)
		}
		server.done <- ended
	}()
	select {
	case err := <-found:
		ts.Check(err)
	case <-time.After(scriptPatience):
		ts.Fatalf("not ready after %v", scriptPatience)
	}
}

// scriptEnvironment returns the variables that a script has set, as its commands get them.
func scriptEnvironment(ts *testscript.TestScript) []string {
	ts.Check(ts.Exec("env", "-0"))
	return strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\x00"), "\x00")
}

// scriptSignal is the command signal. It also checks that "ottla stop" would have found the process.
func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	servers := ts.Value(serversKey{}).(*scriptServers)
	if neg || len(args) != 1 || len(servers.running) == 0 {
		ts.Fatalf("usage: signal NAME, after start")
	}
	sig, ok := signalByName(args[0])
	if !ok {
		ts.Fatalf("there is no signal %s", args[0])
	}
	last := len(servers.running) - 1
	server := servers.running[last]
	if command := server.cmd.Args[1]; stopped[command] != "" {
		ids, err := processes(context.Background(), command)
		ts.Check(err)
		if !slices.Contains(ids, server.cmd.Process.Pid) {
			ts.Fatalf("process %d is not among those to stop: %v", server.cmd.Process.Pid, ids)
		}
	}
	ts.Check(server.cmd.Process.Signal(sig))
	select {
	case err := <-server.done:
		servers.running = servers.running[:last]
		if err != nil && args[0] != "KILL" {
			ts.Fatalf("after %s: %v", args[0], err)
		}
	case <-time.After(scriptPatience):
		ts.Fatalf("still there %v after %s", scriptPatience, args[0])
	}
}
