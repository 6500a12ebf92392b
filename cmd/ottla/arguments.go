package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// arguments describes a command line in the manner of argparse4j, which some of Kafka's tools use instead of their usual parser (F§7.0).
type arguments struct {
	// program is the name in error messages, usage what comes in front of them, help what --help adds to the usage.
	program, usage, help string
	// values are the options with a value, lists those that take all that follows up to the next option, switches those with none.
	values, lists, switches []string
	// required are the options that must be there.
	required []string
}

// givenArguments is what was on a command line: the values of each option, by its name with dashes.
type givenArguments map[string][]string

// parse reads a command line.
func (a *arguments) parse(args []string) (givenArguments, error) {
	given := givenArguments{}
	for i := 0; i < len(args); i++ {
		name, value, attached := strings.Cut(args[i], "=")
		switch {
		case slices.Contains(a.switches, name) && !attached:
			given[name] = []string{"true"}
		case slices.Contains(a.lists, name):
			if attached {
				given[name] = append(given[name], value)
			}
			for i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
				i++
				given[name] = append(given[name], args[i])
			}
		case slices.Contains(a.values, name):
			if !attached {
				if i+1 == len(args) {
					return nil, fmt.Errorf("argument %s: expected one argument", name)
				}
				i++
				value = args[i]
			}
			given[name] = []string{value}
		default:
			return nil, fmt.Errorf("unrecognized arguments: '%s'", args[i])
		}
	}
	for _, name := range a.required {
		if given.text(name) == "" {
			return nil, fmt.Errorf("argument %s is required", name)
		}
	}
	return given, nil
}

// run carries a tool out: it prints the help for no arguments and for --help, makes the tool from the command line, and runs it. The result is
// the exit code.
func (a *arguments) run(ctx context.Context, args []string, std streams, prepare func(givenArguments) (func() error, error)) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(std.out, a.usage, a.help)
		return 0
	}
	given, err := a.parse(args)
	var tool func() error
	if err == nil {
		tool, err = prepare(given)
	}
	if err != nil {
		fmt.Fprintf(std.err, "%s%s: error: %v\n", a.usage, a.program, err)
		return 1
	}
	err = tool()
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx)
	case err != nil:
		fmt.Fprintln(std.err, text(err))
		return 1
	}
	return 0
}

// has reports whether an option was given.
func (g givenArguments) has(name string) bool { return len(g[name]) > 0 }

// text returns the value of an option, "" if it was not given.
func (g givenArguments) text(name string) string {
	if v := g[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// integer returns the value of an option that takes an int of Java, or the fallback.
func (g givenArguments) integer(name string, fallback int32) (int32, error) {
	n, err := g.number(name, int64(fallback), "Integer", math.MinInt32, math.MaxInt32)
	return int32(n), err
}

// long returns the value of an option that takes a long of Java, or the fallback.
func (g givenArguments) long(name string, fallback int64) (int64, error) {
	return g.number(name, fallback, "Long", math.MinInt64, math.MaxInt64)
}

// number returns the value of an option that takes whole numbers, or the fallback.
func (g givenArguments) number(name string, fallback int64, kind string, least, most int64) (int64, error) {
	if !g.has(name) {
		return fallback, nil
	}
	n, err := strconv.ParseInt(g.text(name), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("argument %s: could not convert '%s' to %s", name, g.text(name), kind)
	}
	return n, nil
}
