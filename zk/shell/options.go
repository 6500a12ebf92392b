package shell

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// words matches one word of a line: up to a blank, or in quotes.
var words = regexp.MustCompile(`\s*([^"']\S*|"[^"]*"|'[^']*')\s*`)

// splitLine breaks a line into a command and its arguments.
func splitLine(line string) []string {
	var args []string
	for _, m := range words.FindAllStringSubmatch(strings.TrimSpace(line), -1) {
		w := m[1]
		if n := len(w); n > 1 && (w[0] == '"' || w[0] == '\'') && w[n-1] == w[0] {
			w = w[1 : n-1]
		}
		args = append(args, w)
	}
	return args
}

// arguments are the words behind a command: options and the rest.
type arguments struct {
	options map[string]string // by name without dash
	rest    []string
	usage   string // the line to show when they make no sense
}

// has reports whether an option was given.
func (a *arguments) has(name string) bool {
	_, ok := a.options[name]
	return ok
}

// version returns the value of the option v; -1, for any version, without it.
func (a *arguments) version() (int32, error) {
	v, ok := a.options["v"]
	if !ok {
		return -1, nil
	}
	return parseVersion(v)
}

// parseVersion reads the version of a node.
func parseVersion(text string) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, failed("For input string: \"" + text + "\"")
	}
	return int32(n), nil
}

// parseArguments tells options from arguments the way Apache Commons CLI does, with its messages: options may stand anywhere, flags may share a dash, a
// value may stand in the same word as its option.
func parseArguments(args []string, c *command) (*arguments, error) {
	a := &arguments{options: map[string]string{}}
	flags, values := c.flags, c.values
	chosen := ""
	choose := func(name, value string) error {
		if c.oneOf && chosen != "" && chosen != name {
			return failed("org.apache.commons.cli.AlreadySelectedException: The option '" + name + "' was specified but an option from this group has already been selected: '" + chosen + "'")
		}
		chosen = name
		a.options[name] = value
		return nil
	}
	for i := 0; i < len(args); i++ {
		word := args[i]
		if word == "--" {
			a.rest = append(a.rest, args[i+1:]...)
			break
		}
		if len(word) < 2 || word[0] != '-' {
			a.rest = append(a.rest, word)
			continue
		}
		name, value, attached := strings.Cut(strings.TrimLeft(word, "-"), "=")
		var err error
		switch {
		case slices.Contains(values, name):
			if !attached {
				if i++; i == len(args) || len(args[i]) > 1 && args[i][0] == '-' && !isNumber(args[i]) {
					return nil, failed("org.apache.commons.cli.MissingArgumentException: Missing argument for option: " + name)
				}
				value = args[i]
			}
			err = choose(name, value)
		case slices.Contains(flags, name) && !attached:
			err = choose(name, "")
		case slices.Contains(values, word[1:2]):
			err = choose(word[1:2], word[2:])
		default:
			for _, letter := range word[1:] {
				if !slices.Contains(flags, string(letter)) {
					return nil, failed("org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: " + word)
				}
				err = choose(string(letter), "")
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// isNumber reports whether a word with a dash is a number rather than an option.
func isNumber(word string) bool {
	_, err := strconv.ParseFloat(word, 64)
	return err == nil
}
