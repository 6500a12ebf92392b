package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain makes the test binary serve as ottla: the scripts run it under that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ottla" {
		main()
	}
	os.Exit(m.Run())
}

// TestScripts runs the black-box scripts of testdata/script: they use command lines, output and exit codes only. A script is a list of commands, and
// behind them the files of its working directory, each below a line "-- name --". Words may be 'quoted', a quote inside is doubled, $NAME is a
// variable, # starts a comment, ! in front of a command means that it has to fail.
//
//	exit CODE ARGS…  run "ottla ARGS…" and check its exit code
//	stdin FILE       what the next command reads
//	stdout REGEXP    the output of the last command matches, line by line
//	stderr REGEXP    the same for its messages
//	cmp FILE FILE    two files are equal; "stdout" is the output of the last command, "masked" that without topic ids and times
//	grep REGEXP FILE a file has such a line
//	exists FILE      there is such a file
//	sh SCRIPT        run a shell script; ottla is in its PATH
//	env NAME=VALUE   set a variable, for commands too
//	start ARGS…      run "ottla ARGS…" in the background until it says that it is ready, and set BOOTSTRAP and ZOOKEEPER to its addresses
//	stop SIGNAL      send the process that was started last a signal, and wait until it has ended well
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, file)
		})
	}
}

// script is a run of one script.
type script struct {
	t     *testing.T
	dir   string
	env   map[string]string
	line  string // what is being done, for messages
	stdin string // file for the next command

	stdout, stderr string
	background     []*background
}

// background is a process that a script started.
type background struct {
	cmd  *exec.Cmd
	done chan error
}

// runScript runs one script.
func runScript(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, dir: t.TempDir(), env: map[string]string{"ROOT": root, "HOME": "/nowhere"}}
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "ottla")); err != nil {
		t.Fatal(err)
	}
	s.env["GORACE"] = "atexit_sleep_ms=0" // with the race detector each command would take a second longer
	s.env["BIN"], s.env["WORK"], s.env["TMPDIR"] = bin, s.dir, s.dir
	s.env["PATH"] = bin + string(os.PathListSeparator) + os.Getenv("PATH")
	commands := s.unpack(string(data))
	t.Cleanup(s.killAll)
	for n, line := range commands {
		s.line = file + ":" + strconv.Itoa(n+1) + ": " + line
		if words := s.words(line); len(words) > 0 {
			s.do(words)
		}
	}
}

// unpack writes the files of a script and returns its commands.
func (s *script) unpack(text string) []string {
	separator := regexp.MustCompile(`^-- (.+) --$`)
	var commands []string
	name, content := "", strings.Builder{}
	flush := func() {
		if name != "" {
			if err := os.WriteFile(s.path(name), []byte(content.String()), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
		content.Reset()
	}
	for line := range strings.Lines(text) {
		if m := separator.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			flush()
			name = m[1]
		} else if name == "" {
			commands = append(commands, strings.TrimSuffix(line, "\n"))
		} else {
			content.WriteString(line)
		}
	}
	flush()
	return commands
}

// path returns where a file of the script is.
func (s *script) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// words splits a line.
func (s *script) words(line string) []string {
	var words []string
	var word strings.Builder
	open, quoted := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			if quoted && i+1 < len(line) && line[i+1] == '\'' {
				word.WriteByte('\'')
				i++
				continue
			}
			quoted, open = !quoted, true
		case quoted:
			word.WriteByte(c)
		case c == ' ' || c == '\t':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		case c == '#' && !open:
			i = len(line)
		case c == '$' && i+1 < len(line) && line[i+1] >= 'A' && line[i+1] <= 'Z':
			end := i + 1
			for end < len(line) && line[end] >= 'A' && line[end] <= 'Z' {
				end++
			}
			word.WriteString(s.env[line[i+1:end]])
			i, open = end-1, true
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if quoted {
		s.fatal("a quote is not closed")
	}
	if open {
		words = append(words, word.String())
	}
	return words
}

// fatal ends the script with what the last command printed.
func (s *script) fatal(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n"+format+"\n--- stdout\n%s--- stderr\n%s", append(append([]any{s.line}, args...), s.stdout, s.stderr)...)
}

// check is for failures that have nothing to do with the script.
func (s *script) check(err error) {
	s.t.Helper()
	if err != nil {
		s.fatal("%v", err)
	}
}

// do runs one command.
func (s *script) do(words []string) {
	s.t.Helper()
	want := true
	if words[0] == "!" {
		want, words = false, words[1:]
	}
	args := words[1:]
	switch words[0] {
	case "exit":
		if code := s.run("ottla", args[1:]...); strconv.Itoa(code) != args[0] {
			s.fatal("exit code %d, want %s", code, args[0])
		}
	case "sh":
		if code := s.run("sh", "-c", args[0]); (code == 0) != want {
			s.fatal("exit code %d", code)
		}
	case "stdin":
		s.stdin = args[0]
	case "stdout", "stderr":
		text := s.stdout
		if words[0] == "stderr" {
			text = s.stderr
		}
		s.match(want, args[0], text)
	case "grep":
		s.match(want, args[0], s.read(args[1]))
	case "cmp":
		if diff := cmp.Diff(s.read(args[1]), s.read(args[0])); diff != "" {
			s.fatal("(-want +got)\n%s", diff)
		}
	case "exists":
		if _, err := os.Stat(s.path(args[0])); (err == nil) != want {
			s.fatal("%v", err)
		}
	case "env":
		name, value, _ := strings.Cut(args[0], "=")
		s.env[name] = value
	case "start":
		s.start(args)
	case "stop":
		s.stop(args[0])
	default:
		s.fatal("no command %s", words[0])
	}
}

// match checks that some line of a text matches, or none does.
func (s *script) match(want bool, re, text string) {
	s.t.Helper()
	if regexp.MustCompile(`(?m)`+re).MatchString(text) != want {
		s.fatal("want a match of %s: %v, in\n%s", re, want, text)
	}
}

// What differs from run to run.
var (
	topicID = regexp.MustCompile(`TopicId: [A-Za-z0-9_-]{22}`)
	stamp   = regexp.MustCompile(`(CreateTime|LogAppendTime):\d{13}`)
)

// read returns a file, or an output.
func (s *script) read(name string) string {
	switch name {
	case "stdout":
		return s.stdout
	case "masked":
		return stamp.ReplaceAllString(topicID.ReplaceAllString(s.stdout, "TopicId: ID"), "$1:TIME")
	}
	data, err := os.ReadFile(s.path(name))
	s.check(err)
	return string(data)
}

// command makes a process with the script's environment.
func (s *script) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	if name == "ottla" {
		cmd.Path, cmd.Err = filepath.Join(s.env["BIN"], name), nil
	}
	cmd.Dir = s.dir
	for k, v := range s.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// run runs a process to its end and returns its exit code.
func (s *script) run(name string, args ...string) int {
	s.t.Helper()
	cmd := s.command(name, args...)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if s.stdin != "" {
		cmd.Stdin = strings.NewReader(s.read(s.stdin))
		s.stdin = ""
	}
	cmd.WaitDelay = 10 * time.Second // for children that keep the pipes
	hang := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	err := cmd.Run()
	hang.Stop()
	s.stdout, s.stderr = out.String(), messages.String()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	s.check(err)
	return 0
}

// Lines that tell addresses.
var (
	brokerAddr    = regexp.MustCompile(`broker +(localhost:\d+)|addresses=\[PLAINTEXT://([^\]]+)\]`)
	zooKeeperAddr = regexp.MustCompile(`ZooKeeper +(localhost:\d+)|zookeeper server started address=(\S+)`)
	ready         = regexp.MustCompile(`^Ctrl-C stops|\] started|zookeeper server started`)
)

// start is the command start.
func (s *script) start(args []string) {
	s.t.Helper()
	cmd := s.command("ottla", args...)
	out, err := cmd.StdoutPipe()
	s.check(err)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	s.check(cmd.Start())
	b := &background{cmd, make(chan error, 1)}
	s.background = append(s.background, b)
	lines := make(chan string)
	quit := make(chan struct{})
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			select {
			case lines <- scan.Text():
			case <-quit: // keep the pipe empty
			}
		}
		close(lines)
		b.done <- cmd.Wait()
	}()
	defer close(quit)
	limit := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				s.check(errors.Join(<-b.done, errors.New("it ended before it was ready: "+messages.String())))
			}
			s.stdout = line + "\n"
			for name, re := range map[string]*regexp.Regexp{"BOOTSTRAP": brokerAddr, "ZOOKEEPER": zooKeeperAddr} {
				if m := re.FindStringSubmatch(line); m != nil {
					s.env[name] = m[1] + m[2]
				}
			}
			if ready.MatchString(line) {
				return
			}
		case <-limit:
			s.fatal("it is not ready after 30 s")
		}
	}
}

// stop is the command stop. It also checks that "ottla stop" would have found the process.
func (s *script) stop(name string) {
	s.t.Helper()
	sig, ok := signalByName(name)
	if !ok || len(s.background) == 0 {
		s.fatal("no such signal, or nothing was started")
	}
	b := s.background[len(s.background)-1]
	s.background = s.background[:len(s.background)-1]
	if command := b.cmd.Args[1]; stopped[command] != "" {
		ids, err := processes(context.Background(), command)
		s.check(err)
		if !slices.Contains(ids, b.cmd.Process.Pid) {
			s.fatal("process %d is not among those to stop: %v", b.cmd.Process.Pid, ids)
		}
	}
	s.check(b.cmd.Process.Signal(sig))
	select {
	case err := <-b.done:
		if err != nil && sig != syscall.SIGKILL {
			s.fatal("after SIG%s: %v", name, err)
		}
	case <-time.After(30 * time.Second):
		_ = b.cmd.Process.Kill()
		<-b.done
		s.fatal("still there 30 s after SIG%s", name)
	}
}

// killAll ends what is left.
func (s *script) killAll() {
	for _, b := range s.background {
		_ = b.cmd.Process.Kill()
		<-b.done
	}
}

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
