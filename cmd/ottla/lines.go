package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/record"
)

// lineReader turns lines of input into keys, values and headers (LineMessageReader). Everything it returns is valid until the next call only.
type lineReader struct {
	in   *bufio.Reader
	long []byte // a line that is longer than the buffer of in
	line int    // number of the line that was read last, counting from 1

	parseKey, parseHeaders, ignoreError bool

	keySeparator, headersDelimiter, headersSeparator, headerKeySeparator []byte
	nullMarker                                                           []byte // nil for none
}

// newLineReader reads the properties of the reader. Unknown ones mean nothing, as in Kafka.
func newLineReader(in io.Reader, p config.Properties) (*lineReader, error) {
	l := &lineReader{
		in:       bufio.NewReaderSize(in, 256<<10),
		parseKey: isTrue(p["parse.key"]), parseHeaders: isTrue(p["parse.headers"]), ignoreError: isTrue(p["ignore.error"]),
	}
	for _, s := range []struct {
		name     string
		fallback string
		to       *[]byte
	}{
		{"key.separator", "\t", &l.keySeparator}, {"headers.delimiter", "\t", &l.headersDelimiter},
		{"headers.separator", ",", &l.headersSeparator}, {"headers.key.separator", ":", &l.headerKeySeparator}, {"null.marker", "", &l.nullMarker},
	} {
		text, given := p[s.name]
		if !given {
			text = s.fallback
		}
		*s.to = []byte(text)
		if given && text == "" && s.name != "null.marker" {
			return nil, fmt.Errorf("%s must not be empty", s.name)
		}
	}
	if l.parseHeaders {
		for _, pair := range [][2]string{{"headers.delimiter", "headers.separator"}, {"headers.delimiter", "headers.key.separator"}, {"headers.separator", "headers.key.separator"}} {
			if bytes.Equal(l.separator(pair[0]), l.separator(pair[1])) {
				return nil, fmt.Errorf("%s and %s may not be equal", pair[0], pair[1])
			}
		}
	}
	return l, nil
}

// separator returns one of the separators of headers by its property.
func (l *lineReader) separator(name string) []byte {
	switch name {
	case "headers.delimiter":
		return l.headersDelimiter
	case "headers.separator":
		return l.headersSeparator
	}
	return l.headerKeySeparator
}

// isTrue reads a boolean property.
func isTrue(text string) bool { return len(text) == 4 && bytes.EqualFold([]byte(text), []byte("true")) }

// readLine returns the next line without its end, "\n" or "\r\n", whatever its length; io.EOF when there is none. A last line needs no end.
func (l *lineReader) readLine() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = l.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			l.long = append(l.long, line...)
			line, err = l.in.ReadSlice('\n')
		}
		l.long = append(l.long, line...)
		line = l.long
	}
	if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
		return nil, err
	}
	l.line++
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line, nil
}

// input is what one line means.
type input struct {
	key, value []byte
	headers    []record.Header
}

// next reads a line and takes it apart: headers, key, value. io.EOF is the end.
func (l *lineReader) next() (input, error) {
	line, err := l.readLine()
	if err != nil {
		return input{}, err
	}
	rest := line
	var m input
	if l.parseHeaders {
		text, after, found := bytes.Cut(rest, l.headersDelimiter)
		switch {
		case found:
			if m.headers, err = l.headers(text); err != nil {
				return m, err
			}
			rest = after
		case !l.ignoreError:
			return m, kafkaError("No headers delimiter found on line number %d: '%s'", l.line, line)
		}
	}
	if l.parseKey {
		key, after, found := bytes.Cut(rest, l.keySeparator)
		switch {
		case found:
			m.key, rest = l.orNull(key), after
		case !l.ignoreError:
			return m, kafkaError("No key separator found on line number %d: '%s'", l.line, line)
		}
	}
	m.value = l.orNull(rest)
	return m, nil
}

// orNull replaces the null marker by nil.
func (l *lineReader) orNull(b []byte) []byte {
	if len(l.nullMarker) > 0 && bytes.Equal(b, l.nullMarker) {
		return nil
	}
	if b == nil {
		return []byte{} // an empty key or value is not null
	}
	return b
}

// headers reads key:value pairs. The headers are copies.
func (l *lineReader) headers(text []byte) ([]record.Header, error) {
	if len(l.nullMarker) > 0 && bytes.Equal(text, l.nullMarker) {
		return nil, nil
	}
	var list []record.Header
	for pair := range bytes.SplitSeq(text, l.headersSeparator) {
		key, value, found := bytes.Cut(pair, l.headerKeySeparator)
		if !found && !l.ignoreError {
			return nil, kafkaError("No header key separator found in pair '%s' on line number %d", pair, l.line)
		}
		if len(l.nullMarker) > 0 && bytes.Equal(key, l.nullMarker) {
			return nil, kafkaError("Header keys should not be equal to the null marker '%s' as they can't be null", l.nullMarker)
		}
		h := record.Header{Key: string(key)}
		if found {
			h.Value = bytes.Clone(l.orNull(value))
		}
		list = append(list, h)
	}
	return list, nil
}
