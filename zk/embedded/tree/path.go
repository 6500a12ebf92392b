package tree

import (
	"strings"
	"unicode/utf8"
)

// ValidPath reports whether p may name a node (Z§9): it starts with '/', has no empty, "." or ".." component, no
// trailing '/' except the root itself, and none of the characters that ZooKeeper refuses.
func ValidPath(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	if p == "/" {
		return true
	}
	rest := p[1:]
	for {
		part, more, found := strings.Cut(rest, "/")
		if part == "" || part == "." || part == ".." || !validChars(part) {
			return false
		}
		if !found {
			return true
		}
		rest = more
	}
}

// validChars refuses control characters, surrogates, private use, everything from U+F900 down to U+D800, the specials
// and whatever lies above U+FFFF; broken UTF-8 decodes as U+FFFD, which is one of the specials.
func validChars(s string) bool {
	for _, r := range s {
		switch {
		case r < 0x20, r >= 0x7f && r <= 0x9f, r >= 0xd800 && r <= 0xf8ff, r >= 0xfff0:
			return false
		}
	}
	return true
}

// parentOf returns the path of the parent: "/" for a child of the root, "" for the root and for strings without '/'.
func parentOf(p string) string {
	i := strings.LastIndexByte(p, '/')
	switch {
	case i < 0 || p == "/":
		return ""
	case i == 0:
		return "/"
	default:
		return p[:i]
	}
}

// nameOf returns the last component of a path.
func nameOf(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// rooted reports what is checked of a path before anything else: it begins with '/' and holds no NUL.
func rooted(p string) bool { return p != "" && p[0] == '/' && strings.IndexByte(p, 0) < 0 }

// displayable makes a path fit for messages and logs.
func displayable(p string) string {
	if utf8.ValidString(p) && len(p) <= 200 {
		return p
	}
	if len(p) > 200 {
		p = p[:200] + "…"
	}
	return strings.ToValidUTF8(p, "?")
}
