package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
)

// runConfig checks a server.properties, or prints what a broker would make of it: every setting, its value and where that comes from.
func runConfig(_ context.Context, args []string, std streams) int {
	set := flags.New("USAGE: ottla config check|print server.properties [--override property=value]*")
	override := set.Value("override", flags.String, "", "A setting that counts instead of the one in server.properties, as name=value.").Many()
	err := set.Parse(args)
	if err == nil && len(args) > 0 && !set.Given("help") && (len(set.Args()) != 2 || set.Args()[0] != "check" && set.Args()[0] != "print") {
		err = kafkaError("Found non argument parameters: %s", strings.Join(set.Args(), ","))
	}
	switch {
	case err != nil:
		return usageError(set, err, std)
	case len(args) == 0 || set.Given("help"):
		set.PrintUsage(std.err, "")
		return 1
	}
	settings, warnings, err := config.Load(set.Args()[1], override.Texts(), os.Environ())
	if err != nil {
		fmt.Fprintln(std.err, err)
		return 1
	}
	for _, w := range warnings {
		fmt.Fprintln(std.err, w.Text)
	}
	if set.Args()[0] == "print" {
		for _, e := range settings.DescribeBroker() {
			fmt.Fprintf(std.out, "%s=%s\t%s\n", e.Name, settings.Text(e.Name), e.Source)
		}
		return 0
	}
	fmt.Fprintf(std.out, "%s is fine\n", set.Args()[1])
	return 0
}
