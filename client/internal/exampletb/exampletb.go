// Package exampletb is a testing.TB for godoc examples, which run as tests but are given none: a failure panics, clean-ups run at Close. Examples
// start their cluster with it.
package exampletb

import (
	"context"
	"fmt"
	"testing"
)

// TB stands in for a *testing.T. Methods that it does not have panic. It belongs to one goroutine.
type TB struct {
	testing.TB
	ctx      context.Context // ends before the clean-ups run, as a test's does
	cancel   context.CancelFunc
	cleanups []func()
}

// New returns a TB for one example, which calls Close at its end.
func New() *TB {
	t := &TB{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Close runs the clean-ups, the last one first.
func (t *TB) Close() {
	t.cancel()
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		f := t.cleanups[last]
		t.cleanups = t.cleanups[:last]
		f()
	}
}

// Helper does nothing.
func (t *TB) Helper() {}

// Name is the name of the stand-in.
func (t *TB) Name() string { return "example" }

// Context ends with Close.
func (t *TB) Context() context.Context { return t.ctx }

// Cleanup has f called by Close.
func (t *TB) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Log does nothing: an example's output is compared.
func (t *TB) Log(...any) {}

// Logf does nothing.
func (t *TB) Logf(string, ...any) {}

// Error panics.
func (t *TB) Error(args ...any) { panic(fmt.Sprint(args...)) }

// Errorf panics.
func (t *TB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Fatal panics.
func (t *TB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Fatalf panics.
func (t *TB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Failed reports false: failures have panicked.
func (t *TB) Failed() bool { return false }
