package flags

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Widths of the table of options, in characters.
const (
	tableWidth = 80
	columnGap  = 2
	hanging    = 2 // how far continued lines are moved in
)

// PrintUsage writes a message, or the line about the command when there is none, and the table of options.
func (s *Set) PrintUsage(w io.Writer, message string) {
	if message == "" {
		message = s.about
	}
	rows := [][2]string{{"Option", "Description"}, {"------", "-----------"}}
	var names []string
	for name := range s.options {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		rows = append(rows, s.options[name].row())
	}
	left, right := 0, 0
	for _, row := range rows {
		left, right = max(left, len(row[0])), max(right, len(row[1]))
	}
	left = min(left, (tableWidth-columnGap)/2)
	right = min(right, tableWidth-columnGap-left)

	var b strings.Builder
	fmt.Fprintln(&b, message)
	for _, row := range rows {
		a, d := wrap(row[0], left), wrap(row[1], right)
		for i := range max(len(a), len(d)) {
			fmt.Fprintf(&b, "%-*s%*s%-*s\n", left, line(a, i), columnGap, "", right, line(d, i))
		}
	}
	_, _ = io.WriteString(w, b.String()) // nobody is left to tell
}

// line returns the i-th line, or "" beyond the end.
func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// row returns the two columns of an option.
func (o *Option) row() [2]string {
	left := "--" + o.name
	if o.kind != None {
		what := string(o.kind)
		if o.argument != "" {
			what += ": " + o.argument
		}
		if o.optional {
			left += " [" + what + "]"
		} else {
			left += " <" + what + ">"
		}
	}
	right := o.doc
	if len(o.fallback) > 0 && o.fallback[0] != "" {
		right += " (default: " + o.fallback[0] + ")"
	}
	if o.required {
		right = "(required) " + right
	}
	return [2]string{left, right}
}

// wrap breaks text at blanks into lines of at most width characters; all but the first are moved in. A word that is too long for a line is cut.
func wrap(text string, width int) []string {
	var lines []string
	current, used := "", 0
	for _, word := range strings.Fields(text) {
		indent := 0
		if len(lines) > 0 {
			indent = hanging
		}
		switch {
		case used == 0:
			current = strings.Repeat(" ", indent) + word
		case len(current)+1+len(word) <= width:
			current += " " + word
		default:
			lines = append(lines, current)
			current = strings.Repeat(" ", hanging) + word
		}
		used++
		for len(current) > width {
			lines = append(lines, current[:width])
			current = strings.Repeat(" ", hanging) + current[width:]
		}
	}
	return append(lines, current)
}
