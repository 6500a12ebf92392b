package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/zk/jute"
)

// maxTTL is the longest time to live in milliseconds.
const maxTTL = 1<<40 - 1

// create makes a node.
func (s *shell) create(ctx context.Context, a *arguments) error {
	ephemeral, sequential, container, ttl := a.has("e"), a.has("s"), a.has("c"), a.has("t")
	if container && (ephemeral || sequential) {
		return failed("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.")
	}
	var ttlMs int64
	if ttl {
		var err error
		if ttlMs, err = strconv.ParseInt(a.options["t"], 10, 64); err != nil {
			return failed("-t argument must be a long value")
		}
	}
	switch {
	case ttl && ephemeral:
		return failed("TTLs cannot be used with Ephemeral znodes")
	case ttl && container:
		return failed("TTLs cannot be used with Container znodes")
	case ttl && (ttlMs <= 0 || ttlMs > maxTTL):
		return failed(fmt.Sprintf("ttl must be positive and cannot be larger than: %d", int64(maxTTL)))
	}
	var data []byte
	if len(a.rest) > 1 {
		data = []byte(a.rest[1])
	}
	acl := openACL
	if len(a.rest) > 2 {
		acl = s.parseACL(a.rest[2])
	}
	made, err := s.zk.create(ctx, a.rest[0], data, acl, createMode(ephemeral, sequential, container, ttl), ttlMs)
	switch {
	case isCode(err, ephemeralOnLocal):
		s.errorf("Unable to create ephemeral node on a local session\n")
		return err
	case isCode(err, jute.InvalidACL):
		s.errorf("%v\n", err)
		return err
	case err != nil:
		return err
	}
	s.errorf("Created %s\n", made)
	return nil
}

// createMode is the kind of node that the options of create stand for.
func createMode(ephemeral, sequential, container, ttl bool) jute.CreateMode {
	switch {
	case ephemeral && sequential:
		return jute.ModeEphemeralSequential
	case ephemeral:
		return jute.ModeEphemeral
	case sequential && ttl:
		return jute.ModeSequentialTTL
	case sequential:
		return jute.ModePersistentSequential
	case container:
		return jute.ModeContainer
	case ttl:
		return jute.ModeTTL
	default:
		return jute.ModePersistent
	}
}

// set writes a node's data.
func (s *shell) set(ctx context.Context, a *arguments) error {
	version, err := a.version()
	if err != nil {
		return err
	}
	stat, err := s.zk.set(ctx, a.rest[0], []byte(a.rest[1]), version)
	if err != nil {
		return err
	}
	if a.has("s") {
		s.printStat(&stat)
	}
	return nil
}

// delete deletes a node without children.
func (s *shell) delete(ctx context.Context, a *arguments) error {
	version, err := a.version()
	if err != nil {
		return err
	}
	if len(a.rest) > 1 {
		s.deprecated("delete path [version]", "delete [-v version] path")
		if version, err = parseVersion(a.rest[1]); err != nil {
			return err
		}
	}
	return s.zk.remove(ctx, a.rest[0], version)
}

// batchSize is how many nodes deleteall deletes in one transaction.
const batchSize = 1000

// deleteAll deletes a node and everything below it, from the leaves up.
func (s *shell) deleteAll(ctx context.Context, a *arguments) error {
	size := batchSize
	if a.has("b") {
		n, err := strconv.ParseInt(a.options["b"], 10, 32)
		if err != nil {
			return failed("-b argument must be an int value")
		}
		size = max(int(n), 1)
	}
	tree := []string{a.rest[0]}
	for i := 0; i < len(tree); i++ {
		names, _, err := s.zk.children(ctx, tree[i], false)
		if err != nil {
			return err
		}
		for _, name := range names {
			tree = append(tree, join(tree[i], name))
		}
	}
	slices.Reverse(tree)
	complete := true
	for batch := range slices.Chunk(tree, size) {
		err := s.zk.removeAll(ctx, batch)
		if _, refused := codeOf(err); refused {
			complete = false
		} else if err != nil {
			return err
		}
	}
	if !complete {
		s.errorf("Failed to delete some node(s) in the subtree!\n")
	}
	return nil
}

// setACL replaces access lists: of a node, or of everything below it, too.
func (s *shell) setACL(ctx context.Context, a *arguments) error {
	path, acl := a.rest[0], s.parseACL(a.rest[1])
	version, err := a.version()
	if err != nil {
		return err
	}
	if a.has("R") {
		return s.walk(ctx, path, false, func(path string) {
			if _, err := s.zk.setACL(ctx, path, acl, version); err != nil {
				s.printf("%v", err) // without the end of a line, as there
			}
		})
	}
	stat, err := s.zk.setACL(ctx, path, acl, version)
	if err != nil {
		return err
	}
	if a.has("s") {
		s.printStat(&stat)
	}
	return nil
}

// addWatch leaves a persistent watch.
func (s *shell) addWatch(ctx context.Context, a *arguments) error {
	mode, ok := jute.AddWatchPersistentRecursive, len(a.rest) == 1
	if name, given := a.options["m"]; given {
		switch strings.ToUpper(name) {
		case "PERSISTENT":
			mode = jute.AddWatchPersistent
		case "PERSISTENT_RECURSIVE":
		default:
			ok = false
		}
	}
	if !ok {
		return failed(a.usage)
	}
	return s.zk.addWatch(ctx, a.rest[0], mode)
}

// removeWatches ends watches.
func (s *shell) removeWatches(ctx context.Context, a *arguments) error {
	t := jute.WatcherAny
	switch {
	case a.has("c"):
		t = jute.WatcherChildren
	case a.has("d"):
		t = jute.WatcherData
	}
	events, err := s.zk.removeWatches(ctx, a.rest[0], t, a.has("l"))
	if err != nil {
		return err
	}
	for _, name := range events {
		s.tell(event{state: "SyncConnected", kind: name, path: a.rest[0]})
	}
	return nil
}

// reconfig changes the members of the ensemble.
func (s *shell) reconfig(ctx context.Context, a *arguments) error {
	file, members, add, remove := a.has("file"), a.has("members"), a.has("add"), a.has("remove")
	rq := &jute.ReconfigRequest{
		Joining: strings.ToLower(a.options["add"]), Leaving: strings.ToLower(a.options["remove"]), NewMembers: strings.ToLower(a.options["members"]),
		CurConfigID: -1,
	}
	if v, ok := a.options["v"]; ok {
		var err error
		if rq.CurConfigID, err = strconv.ParseInt(v, 16, 64); err != nil {
			return failed("-v must be followed by a long (configuration version)")
		}
	}
	switch {
	case !file && !members && !add && !remove:
		return failed(a.usage)
	case (file || members) && (add || remove):
		return failed("Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes is not allowed)")
	case file && members:
		return failed("Can't use -file and -members together (conflicting non-incremental modes)")
	case file:
		text, err := s.cfg.ReadFile(a.options["file"])
		if err != nil {
			return failed("Error processing " + a.options["file"] + javaFileError(err))
		}
		rq.NewMembers = memberLines(string(text))
	}
	data, stat, err := s.zk.reconfigure(ctx, rq)
	if err != nil {
		return err
	}
	s.printf("Committed new configuration:\n%s\n", text(data))
	if a.has("s") {
		s.printStat(&stat)
	}
	return nil
}

// javaFileError is how Java words that a file cannot be read.
func javaFileError(err error) string {
	var p *fs.PathError
	if !errors.As(err, &p) {
		return err.Error()
	}
	why := p.Err.Error()
	return p.Path + " (" + strings.ToUpper(why[:1]) + why[1:] + ")"
}

// memberLines picks the members out of a configuration file.
func memberLines(config string) string {
	var out []string
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		for _, prefix := range []string{"server.", "group.", "weight.", "version="} {
			if strings.HasPrefix(line, prefix) {
				out = append(out, line)
			}
		}
	}
	return strings.Join(out, "\n")
}

// walk calls f with a path and with everything below it: first all children of a node, then what is below each of them. Children that vanish meanwhile are
// left out.
func (s *shell) walk(ctx context.Context, path string, watch bool, f func(path string)) error {
	if _, _, err := s.zk.get(ctx, path, watch); err != nil {
		return err
	}
	f(path)
	return s.walkBelow(ctx, path, watch, f)
}

func (s *shell) walkBelow(ctx context.Context, path string, watch bool, f func(path string)) error {
	names, _, err := s.zk.children(ctx, path, watch)
	if isCode(err, jute.NoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		f(join(path, name))
	}
	for _, name := range names {
		if err := s.walkBelow(ctx, join(path, name), watch, f); err != nil {
			return err
		}
	}
	return nil
}
