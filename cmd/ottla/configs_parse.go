package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ottla/ottla/config"
)

// parseAddConfig reads the value of --add-config, k1=v1,k2=[a,b],k3=v3 (ConfigCommand.parseConfigsToBeAdded). Commas and equals signs between
// brackets belong to the value, the brackets do not; blanks around keys and values do not count.
func parseAddConfig(text string) (config.Properties, error) {
	p := config.Properties{}
	items := splitOutsideBrackets(text, ',')
	for len(items) > 1 && items[len(items)-1] == "" { // as Java splits
		items = items[:len(items)-1]
	}
	if len(items) == 1 && items[0] == "" && text != "" {
		return p, nil
	}
	for _, item := range items {
		pair := splitOutsideBrackets(item, '=')
		if len(pair) != 2 {
			return nil, kafkaError(`requirement failed: Invalid entity config: all configs to be added must be in the format "key=val".`)
		}
		p[strings.TrimSpace(pair[0])] = strings.TrimSpace(strings.NewReplacer("[", "", "]", "").Replace(pair[1]))
	}
	return p, checkKeys(p)
}

// splitOutsideBrackets splits at each sep that is not between brackets: where the next bracket, if there is any, opens.
func splitOutsideBrackets(text string, sep byte) []string {
	var parts []string
	end, inside := len(text), false
	for i := len(text) - 1; i >= 0; i-- {
		switch text[i] {
		case ']':
			inside = true
		case '[':
			inside = false
		case sep:
			if !inside {
				parts = append(parts, text[i+1:end])
				end = i
			}
		}
	}
	parts = append(parts, text[:end])
	slices.Reverse(parts)
	return parts
}

// configKey is what the name of a setting may look like.
var configKey = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)

// checkKeys judges the names of settings.
func checkKeys(p config.Properties) error {
	for _, key := range sortedNames(p) {
		if !configKey.MatchString(key) {
			return kafkaError("Invalid character found for config key: %s", key)
		}
	}
	return nil
}

// parseDeleteConfig reads the values of --delete-config: names separated by commas.
func parseDeleteConfig(values []string) ([]string, error) {
	var names []string
	p := config.Properties{}
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			name = strings.TrimSpace(name)
			if _, twice := p[name]; !twice {
				names = append(names, name)
			}
			p[name] = ""
		}
	}
	return names, checkKeys(p)
}

// sortedNames returns the keys in order.
func sortedNames(p map[string]string) []string {
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
