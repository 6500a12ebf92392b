package config

import (
	"math"
	"strconv"
	"strings"
)

// Type is the type of a setting, with Kafka's names (ConfigDef.Type).
type Type int8

// The types of settings.
const (
	// Boolean is true or false in any case.
	Boolean Type = iota + 1
	// String is text, taken as it stands.
	String
	// Short is a 16-bit integer.
	Short
	// Int is a 32-bit integer.
	Int
	// Long is a 64-bit integer.
	Long
	// Double is a 64-bit floating point number.
	Double
	// List is comma separated text; blanks around the elements do not count.
	List
	// Class is the name of a Java class. Ottla knows some of them by name, see support.go.
	Class
	// Password is text that is never shown.
	Password
)

// String returns Kafka's name of the type.
func (t Type) String() string {
	switch t {
	case Boolean:
		return "BOOLEAN"
	case String:
		return "STRING"
	case Short:
		return "SHORT"
	case Int:
		return "INT"
	case Long:
		return "LONG"
	case Double:
		return "DOUBLE"
	case List:
		return "LIST"
	case Class:
		return "CLASS"
	case Password:
		return "PASSWORD"
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

// value is a parsed setting. Which field counts follows from typ; null is Java's null.
type value struct {
	typ  Type
	null bool
	n    int64    // Boolean (0 or 1), Short, Int, Long
	f    float64  // Double
	s    string   // String, Class, Password
	list []string // List
}

// text returns the canonical form of the value, as Kafka shows it in DescribeConfigs; "" for null.
func (v value) text() string {
	if v.null {
		return ""
	}
	switch v.typ {
	case Boolean:
		return strconv.FormatBool(v.n != 0)
	case Short, Int, Long:
		return strconv.FormatInt(v.n, 10)
	case Double:
		return javaDouble(v.f)
	case List:
		return strings.Join(v.list, ",")
	case String, Class, Password:
		return v.s
	}
	return ""
}

// javaDouble formats f as Java's Double.toString does: always a decimal point, an exponent with E below 0.001 and from ten million.
func javaDouble(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		sign := ""
		if exponent[0] == '-' {
			sign = "-"
		}
		return mantissa + "E" + sign + strings.TrimLeft(exponent[1:], "0")
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// parse reads the text of a setting of this type. A failure's text is what Kafka says after the colon
// (ConfigDef.parseType); "" means success.
func (t Type) parse(text string) (v value, failure string) {
	v.typ = t
	trimmed := strings.TrimSpace(text)
	switch t {
	case Boolean:
		switch {
		case strings.EqualFold(trimmed, "true"):
			v.n = 1
		case strings.EqualFold(trimmed, "false"):
		default:
			return v, "Expected value to be either true or false"
		}
	case Short, Int, Long:
		bits := map[Type]int{Short: 16, Int: 32, Long: 64}[t]
		n, err := strconv.ParseInt(trimmed, 10, bits)
		if err != nil {
			return v, "Not a number of type " + t.String()
		}
		v.n = n
	case Double:
		f, err := strconv.ParseFloat(trimmed, 64)
		if err != nil || math.IsNaN(f) {
			return v, "Not a number of type " + t.String()
		}
		v.f = f
	case List:
		v.list = splitList(text)
	case Class:
		v.s = trimmed
	case String, Password:
		v.s = text
	}
	return v, ""
}

// splitList splits at commas and trims; an empty text is an empty list (ConfigDef.parseType for LIST).
func splitList(text string) []string {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
