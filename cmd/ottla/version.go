package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

// release is the version of a release. The build sets it: -ldflags "-X main.release=1.2.3".
var release = ""

// version returns the version of this binary: the release's, or else that of the module or of the revision it was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}

// runVersion prints the version.
func runVersion(_ context.Context, _ []string, std streams) int {
	fmt.Fprintln(std.out, version())
	return 0
}
