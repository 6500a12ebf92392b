package tree

import (
	"crypto/sha1"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ottla/ottla/zk/jute"
)

// ID is one identity of a connection, or of an ACL entry: a scheme and a name in it.
type ID struct {
	Scheme string // "world", "ip", "digest", "super"
	ID     string
}

// Caller is on whose behalf an operation runs: the session and the identities of its connection.
type Caller struct {
	Session int64 // the client's session, 0 for none
	IDs     []ID  // identities of the connection
	SkipACL bool  // every permission check passes (the configuration key skipACL)
}

// openACL is world:anyone with all permissions: what nearly every node has. Nodes share this one slice.
var openACL = []jute.ACL{{Perms: jute.PermAll, Scheme: "world", ID: "anyone"}}

// readOnlyACL is world:anyone READ, the access list of /zookeeper/config.
var readOnlyACL = []jute.ACL{{Perms: jute.PermRead, Scheme: "world", ID: "anyone"}}

func isOpen(acl []jute.ACL) bool { return len(acl) == 1 && acl[0] == openACL[0] }

// shareACL returns the shared slice for the commonest list, the list itself otherwise.
func shareACL(acl []jute.ACL) []jute.ACL {
	if isOpen(acl) {
		return openACL
	}
	return acl
}

// Allowed reports whether the caller has one of the permissions perm under acl (Z§10): any entry with the bit whose
// identity is world:anyone, one of the caller's, or an address range around the caller's. An identity of scheme
// "super" passes everything.
func (c *Caller) Allowed(acl []jute.ACL, perm int32) bool {
	if c.SkipACL || (len(acl) == 1 && acl[0].Perms&perm != 0 && acl[0].Scheme == "world") {
		return true
	}
	for _, id := range c.IDs {
		if id.Scheme == "super" {
			return true
		}
	}
	for i := range acl {
		entry := &acl[i]
		if entry.Perms&perm == 0 {
			continue
		}
		if entry.Scheme == "world" && entry.ID == "anyone" {
			return true
		}
		for _, id := range c.IDs {
			if id.Scheme == entry.Scheme && idMatches(id, entry.ID) {
				return true
			}
		}
	}
	return false
}

func idMatches(id ID, want string) bool {
	if id.Scheme != "ip" {
		return id.ID == want
	}
	prefix, ok := parseIPRange(want)
	if !ok {
		return false
	}
	addr, err := netip.ParseAddr(id.ID)
	return err == nil && prefix.Contains(addr.Unmap())
}

// parseIPRange parses "a.b.c.d" or "a.b.c.d/bits".
func parseIPRange(s string) (netip.Prefix, bool) {
	host, bitsText, hasBits := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Is4() {
		return netip.Prefix{}, false
	}
	bits := 32
	if hasBits {
		if bits, err = strconv.Atoi(bitsText); err != nil || bits < 0 || bits > 32 {
			return netip.Prefix{}, false
		}
	}
	return netip.PrefixFrom(addr, bits), true
}

// maxExpanded bounds the bytes of identities that "auth" entries of one list may stand for: without it, a small request
// could be made to hold a lot.
const maxExpanded = 16 << 10

// fixACL checks an access list of a request and returns the one to store: duplicates removed, "auth" entries expanded
// to the caller's digest identities. An empty list, an unknown scheme or a malformed identity is InvalidACL (Z§10).
func (c *Caller) fixACL(acl []jute.ACL) ([]jute.ACL, jute.Code) {
	if c.SkipACL && len(acl) == 0 {
		return openACL, jute.OK
	}
	if isOpen(acl) {
		return openACL, jute.OK
	}
	out := make([]jute.ACL, 0, len(acl))
	seen := make(map[jute.ACL]struct{}, len(acl))
	expanded := 0
	add := func(a jute.ACL) {
		if _, dup := seen[a]; !dup {
			seen[a] = struct{}{}
			out = append(out, a)
		}
	}
	for _, a := range acl {
		switch a.Scheme {
		case "world":
			if a.ID != "anyone" {
				return nil, jute.InvalidACL
			}
			add(a)
		case "auth":
			found := false
			for _, id := range c.IDs {
				if id.Scheme == "digest" {
					found = true
					add(jute.ACL{Perms: a.Perms, Scheme: id.Scheme, ID: id.ID})
					expanded += len(id.ID)
				}
			}
			if !found || expanded > maxExpanded {
				return nil, jute.InvalidACL
			}
		case "digest":
			if strings.Count(a.ID, ":") != 1 || strings.HasSuffix(a.ID, ":") {
				return nil, jute.InvalidACL
			}
			add(a)
		case "ip":
			if _, ok := parseIPRange(a.ID); !ok {
				return nil, jute.InvalidACL
			}
			add(a)
		default:
			return nil, jute.InvalidACL
		}
	}
	if len(out) == 0 {
		return nil, jute.InvalidACL
	}
	return out, jute.OK
}

// redactACL hides the hashes of digest identities from a caller without ADMIN: "user:x" (Z§4, getACL).
func (c *Caller) redactACL(acl []jute.ACL) []jute.ACL {
	if c.Allowed(acl, jute.PermAdmin) {
		return acl
	}
	out := make([]jute.ACL, len(acl))
	copy(out, acl)
	for i := range out {
		if out[i].Scheme == "digest" {
			user, _, _ := strings.Cut(out[i].ID, ":")
			out[i].ID = user + ":x"
		}
	}
	return out
}

// DigestID returns the digest identity of "user:password": the user, a colon, and the base64 of the SHA-1 of the whole
// (Z§10). SHA-1 is the protocol's, not a choice.
func DigestID(userPassword []byte) string {
	user, _, _ := strings.Cut(string(userPassword), ":")
	sum := sha1.Sum(userPassword)
	return user + ":" + base64.StdEncoding.EncodeToString(sum[:])
}
