package config

import (
	"fmt"
	"slices"
	"strings"
)

// Severity says how loud a [Warning] is.
type Severity int8

// The severities of warnings.
const (
	// Info is for settings of brokers that are known and have no effect.
	Info Severity = iota
	// Warn is for settings that are probably mistakes, and for those of clients that have no effect.
	Warn
)

// Warning is something that a user should know about a setting that was given, but that stops nobody.
type Warning struct {
	// Severity says how loud it is.
	Severity Severity
	// Key is the setting.
	Key string
	// Text is the whole message, without a full stop.
	Text string
}

// Load makes the configuration of a broker from a properties file, the command line's --override values (key=value each) and an
// environment in the form of os.Environ. path may be empty for no file; environ may be nil.
//
// Mistakes that Kafka would stop at are errors, and the text is Kafka's where Kafka has one. Everything else is a warning,
// sorted by key.
func Load(path string, overrides, environ []string) (*Server, []Warning, error) {
	given := Properties{}
	if path != "" {
		file, err := ReadProperties(path)
		if err != nil {
			return nil, nil, err
		}
		given = file
	}
	for key, text := range FromEnviron(environ) {
		given[key] = text
	}
	over, err := ParseOverrides(overrides)
	if err != nil {
		return nil, nil, err
	}
	for key, text := range over {
		given[key] = text
	}
	return NewServer(given)
}

// ParseOverrides reads key=value arguments. Of two with one key the last counts; an empty value is an empty value.
func ParseOverrides(args []string) (Properties, error) {
	p := Properties{}
	for _, arg := range args {
		key, text, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, &Error{Text: "Invalid command line properties: " + arg}
		}
		p[key] = text
	}
	return p, nil
}

// NewServer makes the configuration of a broker from settings that have been put together already: what [Load] does after reading.
func NewServer(given Properties) (*Server, []Warning, error) {
	s := &Server{static: map[string]value{}}
	var warnings []Warning
	for _, name := range given.names() {
		k := brokerKeys.byName[name]
		switch {
		case k == nil:
			warnings = append(warnings, unknown(brokerKeys, name, "broker setting"))
			continue
		case k.Dynamic:
			warnings = append(warnings, Warning{Warn, name, fmt.Sprintf("the setting %s exists only as a dynamic one, in ZooKeeper; it is ignored", name)})
			continue
		}
		v, err := k.parse(given[name])
		if err != nil {
			return nil, nil, err
		}
		s.static[name] = v
		if why := noEffect[name]; why != "" && v.text() != k.fallback().text() {
			warnings = append(warnings, Warning{Info, name, fmt.Sprintf("the setting %s has no effect: %s", name, why)})
		}
	}
	for _, k := range brokerKeys.keys {
		if _, ok := s.static[k.Name]; k.Required && !ok {
			return nil, nil, &Error{Key: k.Name, Text: fmt.Sprintf("Missing required configuration %q which has no default value.", k.Name)}
		}
	}
	if err := s.crossCheck(); err != nil {
		return nil, nil, err
	}
	return s, warnings, nil
}

// names returns the sorted keys.
func (p Properties) names() []string {
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// unknown makes the warning for a setting that is in no table. Names with dots in front of known ones are used by plug-ins, so it stays a warning.
func unknown(set *keySet, name, what string) Warning {
	text := fmt.Sprintf("unknown %s %s is ignored", what, name)
	if near := set.nearest(name); near != "" {
		text += fmt.Sprintf("; did you mean %s?", near)
	}
	return Warning{Warn, name, text}
}
