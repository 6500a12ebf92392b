package shell

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ottla/ottla/zk/jute"
)

// text is what Java makes of bytes: UTF-8, with a replacement for every byte that is none. Null has a word of its own.
func text(data []byte) string {
	if data == nil {
		return "null"
	}
	return string([]rune(string(data)))
}

// list prints names the way Java prints a list, sorted.
func list(names []string) string {
	slices.Sort(names)
	return "[" + strings.Join(names, ", ") + "]"
}

// javaDate is how Java prints a date.
const javaDate = "Mon Jan 02 15:04:05 MST 2006"

// printStat prints what there is to know of a node besides its data.
func (s *shell) printStat(st *jute.Stat) {
	date := func(ms int64) string { return time.UnixMilli(ms).In(s.cfg.Location).Format(javaDate) }
	s.printf("cZxid = 0x%x\nctime = %s\nmZxid = 0x%x\nmtime = %s\npZxid = 0x%x\ncversion = %d\ndataVersion = %d\naclVersion = %d\nephemeralOwner = 0x%x\ndataLength = %d\nnumChildren = %d\n",
		uint64(st.Czxid), date(st.Ctime), uint64(st.Mzxid), date(st.Mtime), uint64(st.Pzxid), st.Cversion, st.Version, st.Aversion, uint64(st.EphemeralOwner),
		st.DataLength, st.NumChildren)
}

// openACL lets everybody do everything.
var openACL = []jute.ACL{{Perms: jute.PermAll, Scheme: "world", ID: "anyone"}}

// permissionLetters are the letters of permissions in the order in which they are printed.
var permissionLetters = []struct {
	bit    int32
	letter string
}{{jute.PermCreate, "c"}, {jute.PermDelete, "d"}, {jute.PermRead, "r"}, {jute.PermWrite, "w"}, {jute.PermAdmin, "a"}}

// permissions prints permission bits.
func permissions(bits int32) string {
	out := ""
	for _, p := range permissionLetters {
		if bits&p.bit != 0 {
			out += p.letter
		}
	}
	return out
}

// parseACL reads "scheme:id:permissions,…". What it cannot read it tells, and leaves out (Java class AclParser).
func (s *shell) parseACL(text string) []jute.ACL {
	var acl []jute.ACL
	for part := range strings.SplitSeq(text, ",") {
		first, last := strings.IndexByte(part, ':'), strings.LastIndexByte(part, ':')
		if first < 0 || first == last {
			if part != "" {
				s.errorf("%s does not have the form scheme:id:perm\n", part)
			}
			continue
		}
		acl = append(acl, jute.ACL{Scheme: part[:first], ID: part[first+1 : last], Perms: s.parsePermissions(part[last+1:])})
	}
	return acl
}

// parsePermissions reads the letters of permissions.
func (s *shell) parsePermissions(text string) int32 {
	var bits int32
letters:
	for _, letter := range text {
		for _, p := range permissionLetters {
			if p.letter == string(letter) {
				bits |= p.bit
				continue letters
			}
		}
		s.errorf("Unknown perm type: %c\n", letter)
	}
	return bits
}

// csvEscapes are the characters that ZooKeeper's records do not print as they are.
var csvEscapes = strings.NewReplacer("\x00", "%00", "\n", "%0A", "\r", "%0D", ",", "%2C", "}", "%7D", "%", "%25")

// csv prints a string of a record.
func csv(text string) string { return csvEscapes.Replace(text) }

// codeOf returns the code of a server's refusal.
func codeOf(err error) (jute.Code, bool) {
	var r *resultError
	if errors.As(err, &r) {
		return r.code, true
	}
	return jute.OK, false
}
