// Package flags reads the command lines of Kafka's tools the way Kafka does, so that scripts written for those tools keep working:
// "--name value" and "--name=value", also with one dash, no abbreviations, "--" ends the options, options may come after arguments,
// some options may come without their value. Messages and the table of options are worded and laid out as Kafka's users know them.
//
// A [Set] is built, parsed and asked by one goroutine.
package flags

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind is the type of an option's value. It is what the table of options shows.
type Kind string

// The kinds of values.
const (
	// None is for options without a value.
	None Kind = ""
	// String takes anything.
	String Kind = "String"
	// Integer takes 32-bit integers.
	Integer Kind = "Integer"
	// Long takes 64-bit integers.
	Long Kind = "Long"
	// Double takes floating point numbers.
	Double Kind = "Double"
)

// Option is one option of a command.
type Option struct {
	name     string
	kind     Kind
	argument string // what the value is, for the table
	doc      string
	optional bool // the value may be left out
	many     bool // the option may be given several times
	required bool
	fallback []string

	given  bool
	values []string
}

// Set is the options of a command.
type Set struct {
	about   string
	options map[string]*Option
	args    []string
}

// Error is a command line that is wrong. Its text is the message of Kafka's option parser.
type Error struct {
	// Text is the whole message.
	Text string
}

// Error returns the message.
func (e *Error) Error() string { return e.Text }

// errorf makes an [Error].
func errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// New returns a set without options. about is the line above the table of options. The options --help and --version are there already.
func New(about string) *Set {
	s := &Set{about: about, options: map[string]*Option{}}
	s.Flag("help", "Print usage information.")
	s.Flag("version", "Display the version.")
	return s
}

// Flag adds an option without a value.
func (s *Set) Flag(name, doc string) *Option {
	o := &Option{name: name, doc: doc}
	if s.options[name] != nil {
		panic("flags: two options " + name)
	}
	s.options[name] = o
	return o
}

// Value adds an option with a value. argument says what the value is, for the table; it may be empty.
func (s *Set) Value(name string, kind Kind, argument, doc string) *Option {
	o := s.Flag(name, doc)
	o.kind, o.argument = kind, argument
	return o
}

// Default gives the value that holds when the option is not given.
func (o *Option) Default(value string) *Option { o.fallback = []string{value}; return o }

// Many allows the option to be given several times.
func (o *Option) Many() *Option { o.many = true; return o }

// Required makes the option compulsory.
func (o *Option) Required() *Option { o.required = true; return o }

// Optional allows the value to be left out.
func (o *Option) Optional() *Option { o.optional = true; return o }

// Parse reads a command line without the name of the command. Compulsory options are not looked for, see [Set.CheckRequired].
func (s *Set) Parse(args []string) error {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			s.args = append(s.args, args[i+1:]...)
			break
		}
		if !looksLikeOption(arg) {
			s.args = append(s.args, arg)
			continue
		}
		name, value, attached := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		o := s.options[name]
		if o == nil {
			return errorf("%s is not a recognized option", name)
		}
		o.given = true
		if o.kind == None {
			if attached {
				return errorf("Option %s does not take an argument", name)
			}
			continue
		}
		if !attached {
			switch {
			case i+1 < len(args) && s.isValue(o, args[i+1]):
				i++
				value = args[i]
			case o.optional:
				continue
			default:
				return errorf("Option %s requires an argument", name)
			}
		}
		if err := o.add(value); err != nil {
			return err
		}
	}
	return nil
}

// looksLikeOption reports whether an argument starts an option: a dash and more, "-" alone is an argument.
func looksLikeOption(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// isValue reports whether the argument behind an option is the option's value. The value of an option that needs one may start with a dash, as in
// "--time -1", unless it is an option itself: then the value was forgotten.
func (s *Set) isValue(o *Option, arg string) bool {
	if !looksLikeOption(arg) {
		return true
	}
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return !o.optional && arg != "--" && s.options[name] == nil
}

// add records a value after checking its kind.
func (o *Option) add(value string) error {
	var err error
	switch o.kind {
	case Integer:
		_, err = strconv.ParseInt(value, 10, 32)
	case Long:
		_, err = strconv.ParseInt(value, 10, 64)
	case Double:
		_, err = strconv.ParseFloat(value, 64)
	case None, String:
	}
	if err != nil {
		return errorf("Cannot parse argument '%s' of option %s", value, o.name)
	}
	if len(o.values) > 0 && !o.many {
		return errorf("Found multiple arguments for option %s, but you asked for only one", o.name)
	}
	o.values = append(o.values, value)
	return nil
}

// Args returns what is left besides options.
func (s *Set) Args() []string { return s.args }

// Given reports whether an option of this set was on the command line.
func (s *Set) Given(name string) bool { return s.options[name].given }

// CheckRequired returns an error for the first of the options, in this order, that is not on the command line; without names it looks at all
// compulsory options.
func (s *Set) CheckRequired(options ...*Option) error {
	for _, o := range options {
		if !o.given {
			return errorf("Missing required argument \"[%s]\"", o.name)
		}
	}
	return nil
}

// CheckInvalid returns an error if o was given together with one of the others.
func CheckInvalid(o *Option, others ...*Option) error {
	for _, other := range others {
		if o.given && other.given && o != other {
			return errorf("Option \"[%s]\" can't be used with option \"[%s]\"", o.name, other.name)
		}
	}
	return nil
}

// Name returns the name without dashes.
func (o *Option) Name() string { return o.name }

// Given reports whether the option was on the command line.
func (o *Option) Given() bool { return o.given }

// Texts returns all values, or else the default.
func (o *Option) Texts() []string {
	if len(o.values) == 0 {
		return o.fallback
	}
	return o.values
}

// Text returns the value, or else the default, or else "".
func (o *Option) Text() string {
	if t := o.Texts(); len(t) > 0 {
		return t[0]
	}
	return ""
}

// Int returns the value of an [Integer] or [Long]; 0 when there is none.
func (o *Option) Int() int64 {
	n, err := strconv.ParseInt(o.Text(), 10, 64)
	if err != nil && o.Text() != "" {
		panic("flags: the default of " + o.name + " is not a number")
	}
	return n
}

// Float returns the value of a [Double]; 0 when there is none.
func (o *Option) Float() float64 {
	f, err := strconv.ParseFloat(o.Text(), 64)
	if err != nil && o.Text() != "" {
		panic("flags: the default of " + o.name + " is not a number")
	}
	return f
}
