package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ottla/ottla/config"
)

// readLines formats everything that a reader makes of a text.
func readLines(t *testing.T, text string, p config.Properties) string {
	t.Helper()
	l, err := newLineReader(strings.NewReader(text), p)
	if err != nil {
		return "! " + err.Error()
	}
	var b strings.Builder
	for {
		in, err := l.next()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			fmt.Fprintf(&b, "! %v", err)
			return b.String()
		}
		show := func(data []byte) string {
			if data == nil {
				return "null"
			}
			return fmt.Sprintf("%q", data)
		}
		for _, h := range in.headers {
			fmt.Fprintf(&b, "%s:%s ", h.Key, show(h.Value))
		}
		fmt.Fprintf(&b, "%s=%s;", show(in.key), show(in.value))
	}
}

func TestLineReader(t *testing.T) {
	key := config.Properties{"parse.key": "true"}
	all := config.Properties{"parse.key": "TRUE", "parse.headers": "true", "null.marker": "NULL"}
	for _, c := range []struct {
		text string
		p    config.Properties
		want string
	}{
		{"", nil, ""},
		{"a\nb", nil, `null="a";null="b";`},
		{"a\n\nb\n", nil, `null="a";null="";null="b";`},
		{"a\r\nb\rc\n\r\n", nil, `null="a";null="b\rc";null="";`},
		{"\xff\x00\n", nil, `null="\xff\x00";`},
		{"k\tv\tw\n\tv\nk\t\n", key, `"k"="v\tw";""="v";"k"="";`},
		{"k:v\n", config.Properties{"parse.key": "true", "key.separator": ":"}, `"k"="v";`},
		{"k=>v\n", config.Properties{"parse.key": "true", "key.separator": "=>"}, `"k"="v";`},
		{"k\tv\nplain\n", key, `"k"="v";! No key separator found on line number 2: 'plain'`},
		{"plain\n", config.Properties{"parse.key": "true", "ignore.error": "true"}, `null="plain";`},
		{"h1:v1,h2:\tk\tv\n", all, `h1:"v1" h2:"" "k"="v";`},
		{"NULL\tNULL\tNULL\nh:NULL\tk\tv\n", all, `null=null;h:null "k"="v";`},
		{"NULL:v\tk\tv\n", all, `! Header keys should not be equal to the null marker 'NULL' as they can't be null`},
		{"nocolon\tk\tv\n", all, `! No header key separator found in pair 'nocolon' on line number 1`},
		{"nothing\n", all, `! No headers delimiter found on line number 1: 'nothing'`},
		{"x", config.Properties{"parse.headers": "true", "headers.separator": ":"}, "! headers.separator and headers.key.separator may not be equal"},
		{"x", config.Properties{"parse.key": "true", "key.separator": ""}, "! key.separator must not be empty"},
	} {
		if got := readLines(t, c.text, c.p); got != c.want {
			t.Errorf("%q %v\n got %s\nwant %s", c.text, c.p, got, c.want)
		}
	}
}

func TestLineReaderTakesLinesOfAnyLength(t *testing.T) {
	var text bytes.Buffer
	sizes := []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 3 << 20, 5}
	for _, n := range sizes {
		text.Write(bytes.Repeat([]byte{'x'}, n))
		text.WriteByte('\n')
	}
	l, err := newLineReader(&text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range sizes {
		in, err := l.next()
		if err != nil || len(in.value) != n {
			t.Fatalf("line %d: %d bytes, %v; want %d", i+1, len(in.value), err, n)
		}
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestLineReaderReportsReadErrors(t *testing.T) {
	broken := errors.New("broken pipe")
	l, err := newLineReader(io.MultiReader(strings.NewReader("a\nhalf"), errorReader{broken}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if in, err := l.next(); err != nil || string(in.value) != "a" {
		t.Fatalf("%q, %v", in.value, err)
	}
	if _, err := l.next(); !errors.Is(err, broken) {
		t.Errorf("half a line before a failure was taken for a line: %v", err)
	}
}

// errorReader always fails.
type errorReader struct{ err error }

// Read implements io.Reader.
func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func FuzzLineReader(f *testing.F) {
	f.Add([]byte("a\nb\r\n"), false, false)
	f.Add([]byte("h:v\tk\tv\n"), true, true)
	f.Fuzz(func(t *testing.T, data []byte, key, headers bool) {
		p := config.Properties{"parse.key": fmt.Sprint(key), "parse.headers": fmt.Sprint(headers), "ignore.error": "true"}
		l, err := newLineReader(bytes.NewReader(data), p)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(data, []byte("\n"))
		if n := len(data); n > 0 && data[n-1] != '\n' {
			lines++
		}
		for i := range lines {
			if _, err := l.next(); err != nil {
				t.Fatalf("line %d of %d: %v", i+1, lines, err)
			}
		}
		if _, err := l.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("after %d lines: %v", lines, err)
		}
	})
}

func BenchmarkLineReader(b *testing.B) {
	text := bytes.Repeat([]byte("a line of usual length, as people send them\n"), 10000)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		l, err := newLineReader(bytes.NewReader(text), nil)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := l.next(); err != nil {
				break
			}
		}
	}
}
