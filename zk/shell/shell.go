package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// DefaultTimeout is the session timeout that the shell asks for.
const DefaultTimeout = 30 * time.Second

// maxLine bounds a line of input in bytes: as much as a node can hold, and some.
const maxLine = 4 << 20

// Config says what a shell talks to and whom. It is only read.
type Config struct {
	// Connect names the servers: "host:port,host:port/chroot".
	Connect string
	// Command is carried out, and then the shell ends. Empty means that commands are read from In.
	Command []string
	// Timeout is the session timeout to ask for; 0 means DefaultTimeout.
	Timeout time.Duration
	// Wait makes the shell wait for a connection before anything else, and give up after Timeout.
	Wait bool
	// ReadOnly accepts servers that have lost their ensemble.
	ReadOnly bool
	// Prompt shows a prompt, for people.
	Prompt bool
	// UsageLine is the first line of the list of commands.
	UsageLine string
	// Version is what the command version prints.
	Version string
	// In is where commands come from; Out and Err are where text goes.
	In       io.Reader
	Out, Err io.Writer
	// Dial connects; nil means TCP.
	Dial Dialer
	// Location is the time zone of dates; nil means that of the machine.
	Location *time.Location
	// ReadFile reads the file of "reconfig -file"; nil means that there are none.
	ReadFile func(name string) ([]byte, error)
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.ReadFile == nil {
		c.ReadFile = func(string) ([]byte, error) { return nil, os.ErrNotExist }
	}
	if c.UsageLine == "" {
		c.UsageLine = "ZooKeeper -server host:port -client-configuration properties-file cmd args"
	}
	return c
}

// shell is a running shell. Commands are carried out by one goroutine; events are printed by the session's.
type shell struct {
	cfg    Config
	target string // what the session was opened with
	zk     *session

	history []string // one line for each command so far

	out         sync.Mutex // guards Out, Err and printWatches
	printEvents bool
}

// Run runs a shell until its command is done, it is told to quit, or its input ends. The result is the exit code: that of the last command, 0 when it
// succeeded, 127 when there is no such command, and 1 otherwise. When ctx ends the shell ends as soon as the command under way has given up.
func Run(ctx context.Context, cfg Config) int {
	s := &shell{cfg: cfg.withDefaults(), printEvents: true}
	s.printf("Connecting to %s\n", s.cfg.Connect)
	if err := s.connect(ctx, s.cfg.Connect); err != nil {
		s.errorf("%s\n", explain(err).text)
		return exitFailed
	}
	defer func() { // without a word: the user has not asked for it
		s.setPrintEvents(false)
		s.zk.close(context.WithoutCancel(ctx))
	}()
	if len(s.cfg.Command) > 0 {
		code, _ := s.execute(ctx, s.cfg.Command)
		return code
	}
	s.printf("Welcome to ZooKeeper!\nJLine support is disabled\n")
	return s.interact(ctx)
}

// errQuit is how the command quit ends the shell.
var errQuit = errors.New("quit")

// interact carries out the lines of the input.
func (s *shell) interact(ctx context.Context) int {
	lines, failed := make(chan string), make(chan error, 1)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(s.cfg.In)
		in.Buffer(nil, maxLine)
		for in.Scan() {
			select {
			case lines <- in.Text():
			case <-stop:
				return
			}
		}
		failed <- in.Err()
	}()
	code := 0
	for {
		if s.cfg.Prompt {
			s.printf("[zk: %s(%s) %d] ", s.target, s.zk.current(), len(s.history))
		}
		select {
		case line, ok := <-lines:
			if !ok {
				if err := <-failed; err != nil {
					s.errorf("read a command: %v\n", err)
					return exitFailed
				}
				return code
			}
			args := splitLine(line)
			if len(args) == 0 {
				continue
			}
			s.history = append(s.history, line)
			next, err := s.execute(ctx, args)
			if errors.Is(err, errQuit) {
				return code
			}
			code = next
		case <-ctx.Done():
			return code
		}
	}
}

// execute carries out one command, prints what is wrong, and returns the exit code. The error is errQuit or nil.
func (s *shell) execute(ctx context.Context, args []string) (int, error) {
	err := s.perform(ctx, args)
	if err == nil || errors.Is(err, errQuit) {
		return 0, err
	}
	if errors.Is(err, errNotConnected) {
		s.printf("%v\n", err)
		return 0, nil
	}
	f := explain(err)
	s.errorf("%s\n", f.text)
	return f.exit, nil
}

// perform carries out one command.
func (s *shell) perform(ctx context.Context, args []string) error {
	name := args[0]
	c := commands[name]
	if _, own := ownOptions[name]; own {
		return s.own(ctx, args)
	}
	if c == nil {
		s.usage()
		return &failure{"Command not found: Command not found " + name, exitUnknownCommand}
	}
	if !s.zk.current().alive() {
		return errNotConnected
	}
	a, err := parseArguments(args[1:], c)
	if err != nil {
		return err
	}
	if a.usage = c.usage(name); len(a.rest) < c.min {
		return failed(a.usage)
	}
	return c.run(s, ctx, a)
}

// own carries out a command that concerns the shell itself. As in ZooKeeper's client all of them but quit mention it when the session is over.
func (s *shell) own(ctx context.Context, args []string) error {
	switch args[0] {
	case "quit":
		s.zk.close(ctx)
		return errQuit
	case "redo":
		if err := s.redo(ctx, args); err != nil {
			return err
		}
	case "history":
		last := max(len(s.history)-1, 0) // the command itself
		for i := max(last-10, 0); i <= last; i++ {
			line := "null"
			if i < len(s.history) {
				line = s.history[i]
			}
			s.printf("%d - %s\n", i, line)
		}
	case "printwatches":
		if len(args) > 1 {
			s.setPrintEvents(args[1] == "on")
		} else {
			s.printf("printwatches is %s\n", map[bool]string{true: "on", false: "off"}[s.printsEvents()])
		}
	case "connect":
		target := s.target
		if len(args) > 1 {
			target = args[1]
		}
		if err := s.connect(ctx, target); err != nil {
			return err
		}
	}
	if !s.zk.current().alive() {
		return errNotConnected
	}
	return nil
}

// redo carries out an earlier command again.
func (s *shell) redo(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return nil
	}
	i, err := strconv.ParseInt(args[1], 0, 32)
	if err != nil {
		return failed("For input string: \"" + args[1] + "\"")
	}
	last := len(s.history) - 1
	if i < 0 || int(i) >= last {
		return failed("Command index out of range")
	}
	again := splitLine(s.history[i])
	if again[0] == "redo" {
		return failed("No redoing redos")
	}
	s.history[last] = s.history[i]
	return s.perform(ctx, again)
}

// connect opens a session and closes the one before.
func (s *shell) connect(ctx context.Context, target string) error {
	t, err := parseConnect(target)
	if err != nil {
		return err
	}
	if s.zk != nil && s.zk.current().alive() {
		s.zk.close(ctx)
	}
	s.target = target
	s.zk = openSession(t, s.cfg.Timeout, s.cfg.ReadOnly, s.cfg.Dial, s.tell)
	if !s.cfg.Wait {
		return nil
	}
	if err := s.zk.awaitConnected(ctx); err != nil {
		s.zk.close(ctx)
		return err
	}
	return nil
}

// usage lists the commands.
func (s *shell) usage() {
	all := maps.Clone(ownOptions)
	for name, c := range commands {
		all[name] = c.options
	}
	text := s.cfg.UsageLine + "\n"
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text += "\t" + name + " " + all[name] + "\n"
	}
	s.errorf("%s", text)
}

// tell prints an event, if events are printed.
func (s *shell) tell(e event) {
	s.out.Lock()
	defer s.out.Unlock()
	if !s.printEvents {
		return
	}
	path := e.path
	if e.kind == "None" {
		path = "null"
	}
	_, _ = fmt.Fprintf(s.cfg.Out, "\nWATCHER::\n\nWatchedEvent state:%s type:%s path:%s\n", e.state, e.kind, path)
}

func (s *shell) setPrintEvents(on bool) {
	s.out.Lock()
	defer s.out.Unlock()
	s.printEvents = on
}

func (s *shell) printsEvents() bool {
	s.out.Lock()
	defer s.out.Unlock()
	return s.printEvents
}

// printf writes to standard output. Nobody is left to tell when that fails.
func (s *shell) printf(format string, args ...any) { s.write(s.cfg.Out, format, args) }

// errorf writes to standard error.
func (s *shell) errorf(format string, args ...any) { s.write(s.cfg.Err, format, args) }

func (s *shell) write(w io.Writer, format string, args []any) {
	s.out.Lock()
	defer s.out.Unlock()
	_, _ = fmt.Fprintf(w, format, args...)
}
