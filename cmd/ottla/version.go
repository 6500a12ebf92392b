package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

// version is the version of this binary. The build sets it: -ldflags "-X main.version=1.2.3".
var version = ""

// versionName returns the version that the build set, or else that of the module.
func versionName() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}

// runVersion prints the version.
func runVersion(_ context.Context, _ []string, std streams) int {
	fmt.Fprintln(std.out, versionName())
	return 0
}
