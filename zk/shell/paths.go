package shell

import (
	"fmt"
	"net"
	"strings"
	"unicode/utf16"
)

// defaultPort is ZooKeeper's.
const defaultPort = "2181"

// connectString is where to connect: servers, and a node that stands for the root.
type connectString struct {
	hosts  []string // with ports
	chroot string   // "" or a path
}

// parseConnect reads "host:port,host:port/chroot".
func parseConnect(s string) (connectString, error) {
	var c connectString
	if i := strings.IndexByte(s, '/'); i >= 0 {
		if c.chroot = s[i:]; c.chroot == "/" {
			c.chroot = ""
		} else if err := checkPath(c.chroot); err != nil {
			return c, err
		}
		s = s[:i]
	}
	for h := range strings.SplitSeq(s, ",") {
		if h = strings.TrimSpace(h); h == "" {
			continue
		}
		if host, port, err := net.SplitHostPort(h); err == nil && port != "" {
			h = net.JoinHostPort(host, port)
		} else {
			h = net.JoinHostPort(strings.Trim(h, "[]"), defaultPort)
		}
		c.hosts = append(c.hosts, h)
	}
	if len(c.hosts) == 0 {
		return c, fmt.Errorf("there is no server in the connect string %q", s)
	}
	return c, nil
}

// onServer returns the server's name of a path.
func (c *connectString) onServer(path string) string {
	if path == "/" && c.chroot != "" {
		return c.chroot
	}
	return c.chroot + path
}

// local is the inverse of onServer. A path outside of the chroot stays as it is.
func (c *connectString) local(path string) string {
	rest, ok := strings.CutPrefix(path, c.chroot)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return path
	case rest == "":
		return "/"
	default:
		return rest
	}
}

// checkPath checks a path as ZooKeeper's client does before it sends one, in the same words; positions count UTF-16 units (Java class PathUtils, Z§9).
func checkPath(path string) error {
	switch {
	case path == "":
		return failed("Path length must be > 0")
	case path[0] != '/':
		return failed("Path must start with / character")
	case path == "/":
		return nil
	case path[len(path)-1] == '/':
		return failed("Path must not end with / character")
	}
	units := utf16.Encode([]rune(path))
	for i := 1; i < len(units); i++ {
		if reason := badUnit(units, i); reason != "" {
			return failed(fmt.Sprintf("Invalid path string \"%s\" caused by %s @%d", path, reason, i))
		}
	}
	return nil
}

// badUnit says what is wrong at a position of a path.
func badUnit(p []uint16, i int) string {
	c, last, end := p[i], p[i-1], i+1 == len(p)
	switch {
	case c == 0:
		return "null character not allowed"
	case c == '/' && last == '/':
		return "empty node name specified"
	case c == '.' && last == '.' && p[i-2] == '/' && (end || p[i+1] == '/'),
		c == '.' && last == '/' && (end || p[i+1] == '/'):
		return "relative paths not allowed"
	case c < 0x20, c >= 0x7f && c < 0xa0, c >= 0xd800 && c <= 0xf8ff, c >= 0xfff0:
		return "invalid character"
	}
	return ""
}

// checkNewPath is checkPath for create: the name of a sequential node may be empty.
func checkNewPath(path string, sequential bool) error {
	if sequential {
		path += "1"
	}
	return checkPath(path)
}

// join returns the path of a child.
func join(parent, child string) string {
	if parent == "/" {
		return "/" + child
	}
	return parent + "/" + child
}
