package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/magiconair/properties"
)

// Properties is the content of a Java properties file: text by name.
type Properties map[string]string

// ReadProperties reads a Java properties file. The error's text names the file and, for a mistake in it, the place.
func ReadProperties(path string) (Properties, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read properties: %w", withoutOp(err))
	}
	p, err := ParseProperties(data)
	if err != nil {
		return nil, fmt.Errorf("read properties: %s: %w", path, err)
	}
	return p, nil
}

// withoutOp drops the system call's name from a file error: "server.properties: no such file or directory".
func withoutOp(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}

// ParseProperties reads the text of a Java properties file: "key=value", "key: value" or "key value", comments with # or !,
// lines continued by a backslash, the escapes \t \n \f \r and \uXXXX. Of two lines with one key the last counts, and
// "${…}" has no meaning. Text that is not UTF-8 is read as ISO 8859-1, which is what Java always does.
func ParseProperties(data []byte) (Properties, error) {
	encoding := properties.UTF8
	if !utf8.Valid(data) {
		encoding = properties.ISO_8859_1
	}
	loader := properties.Loader{Encoding: encoding, DisableExpansion: true}
	p, err := loader.LoadBytes(data)
	if err != nil {
		return nil, fmt.Errorf("parse properties: %w", err)
	}
	return p.Map(), nil
}
