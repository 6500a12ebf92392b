package kafkalog

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Files is the sink of a server: Kafka's log files in one directory, and a copy of server.log on a stream. Files start anew each hour; the
// finished hour's is renamed to server.log.2024-10-25-09.
//
//	controller.log     kafka.controller.…
//	state-change.log   state.change.logger: every order from the controller
//	server.log         everything else
//
// A Files belongs to the loggers it is given to: its methods but Close are called by them only.
type Files struct {
	dir    string
	stream io.Writer
	open   map[string]*hourly
}

// hourly is one log file and the hour it is for.
type hourly struct {
	file *os.File
	hour string
}

// hourFormat names the hour of a finished file.
const hourFormat = "2006-01-02-15"

// OpenFiles creates the directory if need be and opens server.log in it, so that an unwritable directory is found out at once. stream gets a copy
// of server.log's lines.
func OpenFiles(dir string, stream io.Writer, now time.Time) (*Files, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the directory for log files: %w", err)
	}
	f := &Files{dir: dir, stream: stream, open: map[string]*hourly{}}
	if _, err := f.file("server.log", now); err != nil {
		return nil, fmt.Errorf("open log file: %w", err)
	}
	return f, nil
}

// fileOf returns the file that the lines of a category go to.
func fileOf(category string) string {
	switch {
	case strings.HasPrefix(category, "state.change.logger"):
		return "state-change.log"
	case strings.HasPrefix(category, "kafka.controller"):
		return "controller.log"
	}
	return "server.log"
}

// Write implements [Sink]. A line that cannot be written to its file goes to the stream instead.
func (f *Files) Write(at time.Time, _ hclog.Level, category string, line []byte) {
	name := fileOf(category)
	file, err := f.file(name, at)
	if err == nil {
		_, err = file.Write(line)
	}
	if name == "server.log" || err != nil {
		_, _ = f.stream.Write(line)
	}
}

// file returns the open file of this name for the hour of at, after putting a finished hour's aside.
func (f *Files) file(name string, at time.Time) (*os.File, error) {
	h, path, hour := f.open[name], filepath.Join(f.dir, name), at.Format(hourFormat)
	if h != nil && h.hour == hour {
		return h.file, nil
	}
	if h == nil {
		if info, err := os.Stat(path); err == nil {
			h = &hourly{hour: info.ModTime().Format(hourFormat)}
		}
	} else {
		_ = h.file.Close()
	}
	if h != nil && h.hour != hour {
		_ = os.Rename(path, path+"."+h.hour) // if this fails the file simply goes on
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		delete(f.open, name)
		return nil, err
	}
	f.open[name] = &hourly{file, hour}
	return file, nil
}

// Close closes the files. Lines that are still written open them again.
func (f *Files) Close() error {
	var first error
	for name, h := range f.open {
		if err := h.file.Close(); err != nil && first == nil {
			first = err
		}
		delete(f.open, name)
	}
	return first
}
