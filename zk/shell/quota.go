package shell

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/zk/jute"
)

// Where quotas are kept (Z§14).
const (
	quotaRoot  = "/zookeeper/quota"
	limitsNode = "zookeeper_limits"
	statsNode  = "zookeeper_stats"
)

// Names of the numbers of a quota.
const (
	countKey     = "count"
	bytesKey     = "bytes"
	countHardKey = "countHardLimit"
	bytesHardKey = "byteHardLimit"
)

// quotaOptions are the options of setquota and delquota and the number that each means.
var quotaOptions = []struct {
	option, key string
	least       int64 // a limit may be
	rule        string
}{
	{"n", countKey, 1, "num quota must be greater than zero"},
	{"b", bytesKey, 0, "bytes quota must be greater than or equal to zero"},
	{"N", countHardKey, 1, "num quota must be greater than zero"},
	{"B", bytesHardKey, 0, "bytes quota must be greater than or equal to zero"},
}

// quotaNumbers are the limits of a quota, or what is used of it; -1 is no limit.
type quotaNumbers map[string]int64

// noLimits returns numbers that limit nothing.
func noLimits() quotaNumbers {
	return quotaNumbers{countKey: -1, bytesKey: -1, countHardKey: -1, bytesHardKey: -1}
}

// parseQuota reads the data of a node of a quota (Java class StatsTrack).
func parseQuota(data []byte) (quotaNumbers, error) {
	q := quotaNumbers{}
	for _, pair := range strings.FieldsFunc(string(data), func(r rune) bool { return r == ',' || r == ';' }) {
		key, value, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseInt(strings.TrimSuffix(value, "="), 10, 64)
		if err != nil {
			return nil, failed("invalid string " + string(data))
		}
		q[key] = n
	}
	return q, nil
}

// of returns a number; -1 when there is none.
func (q quotaNumbers) of(key string) int64 {
	if n, ok := q[key]; ok {
		return n
	}
	return -1
}

// String is the form in which a quota is kept and printed: first the two numbers that old versions know.
func (q quotaNumbers) String() string {
	out := fmt.Sprintf("%s=%d,%s=%d", countKey, q.of(countKey), bytesKey, q.of(bytesKey))
	sep := "=;"
	for _, key := range slices.Sorted(maps.Keys(q)) {
		if key != countKey && key != bytesKey {
			out += fmt.Sprintf("%s%s=%d", sep, key, q[key])
			sep = ";"
		}
	}
	return out
}

// listQuota prints the limits of a path and what is used of them.
func (s *shell) listQuota(ctx context.Context, a *arguments) error {
	path := a.rest[0]
	s.errorf("absolute path is %s\n", quotaRoot+path+"/"+limitsNode)
	limits, used, err := s.readQuota(ctx, path)
	if isCode(err, jute.NoNode) {
		s.errorf("quota for %s does not exist.\n", path)
		return nil
	}
	if err != nil {
		return err
	}
	s.printf("Output quota for %s %v\nOutput stat for %s %v\n", path, limits, path, used)
	return nil
}

// setQuota gives a path one more limit.
func (s *shell) setQuota(ctx context.Context, a *arguments) error {
	limits, given := noLimits(), 0
	for _, o := range quotaOptions {
		value, ok := a.options[o.option]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			s.errorf("NumberFormatException happens when parsing the option value\n")
			return nil
		}
		if n < o.least {
			s.errorf("the %s\n", o.rule)
			return nil
		}
		limits[o.key] = n
		given++
	}
	if given == 0 {
		return failed("org.apache.commons.cli.MissingOptionException: Missing required option: [-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]")
	}
	path := a.rest[0]
	if strings.HasPrefix(path, quotaRoot) {
		s.errorf("cannot set a quota under the path: %s\n", quotaRoot)
		return nil
	}
	if _, err := s.zk.exists(ctx, path, false); isCode(err, jute.NoNode) {
		return failed(path + " does not exist.")
	} else if err != nil {
		return err
	}
	if err := s.checkQuotaBelow(ctx, path); err != nil {
		return err
	}
	if err := s.checkQuotaAbove(ctx, path); err != nil {
		return err
	}
	if err := s.storeQuota(ctx, path, limits); err != nil {
		return err
	}
	return s.warnOfQuota(ctx, path)
}

// readQuota reads the limits of a path and what is used of them.
func (s *shell) readQuota(ctx context.Context, path string) (limits, used quotaNumbers, err error) {
	for _, part := range []struct {
		node string
		into *quotaNumbers
	}{{limitsNode, &limits}, {statsNode, &used}} {
		data, _, err := s.zk.get(ctx, quotaRoot+path+"/"+part.node, false)
		if err != nil {
			return nil, nil, err
		}
		if *part.into, err = parseQuota(data); err != nil {
			return nil, nil, err
		}
	}
	return limits, used, nil
}

// warnOfQuota tells when more is used than a quota allows.
func (s *shell) warnOfQuota(ctx context.Context, path string) error {
	limits, used, err := s.readQuota(ctx, path)
	if err != nil {
		return err
	}
	for _, w := range []struct{ soft, hard string }{{countKey, countHardKey}, {bytesKey, bytesHardKey}} {
		now := used.of(w.soft)
		if n := limits.of(w.soft); n > -1 && n < now {
			s.printf("[Warning]: the %s quota you create is less than the existing %s:%d\n", w.soft, w.soft, now)
		} else if n := limits.of(w.hard); n > -1 && n < now {
			s.printf("[Warning]: the %s quota you create is less than the existing %s:%d\n", w.soft, w.soft, now)
		}
	}
	return nil
}

// checkQuotaBelow refuses a quota when there is one further down.
func (s *shell) checkQuotaBelow(ctx context.Context, path string) error {
	var found error
	err := s.walk(ctx, quotaRoot+path, false, func(p string) {
		if parent, ok := strings.CutSuffix(p, "/"+limitsNode); ok && parent != quotaRoot+path && found == nil {
			found = failed(path + " has a child " + strings.TrimPrefix(parent, quotaRoot) + " which has a quota")
		}
	})
	if isCode(err, jute.NoNode) {
		err = nil
	}
	if found != nil {
		return found
	}
	return err
}

// checkQuotaAbove refuses a quota when there is one further up.
func (s *shell) checkQuotaAbove(ctx context.Context, path string) error {
	at := quotaRoot
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		at = join(at, part)
		names, _, err := s.zk.children(ctx, at, false)
		if isCode(err, jute.NoNode) || err == nil && len(names) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if at != quotaRoot+path && slices.Contains(names, limitsNode) {
			return failed(path + " has a parent " + strings.TrimPrefix(at, quotaRoot) + " which has a quota")
		}
	}
	return nil
}

// storeQuota writes limits; those that are there already and not given stay.
func (s *shell) storeQuota(ctx context.Context, path string, limits quotaNumbers) error {
	at := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(quotaRoot+path, "/"), "/") {
		at += "/" + part
		if _, err := s.zk.create(ctx, at, nil, openACL, jute.ModePersistent, 0); err != nil && !isCode(err, jute.NodeExists) {
			return err
		}
	}
	limitsPath := join(at, limitsNode)
	_, err := s.zk.create(ctx, limitsPath, []byte(limits.String()), openACL, jute.ModePersistent, 0)
	if err == nil {
		used := quotaNumbers{countKey: 0, bytesKey: 0}
		_, err = s.zk.create(ctx, join(at, statsNode), []byte(used.String()), openACL, jute.ModePersistent, 0)
	}
	if !isCode(err, jute.NodeExists) {
		return err
	}
	data, _, err := s.zk.get(ctx, limitsPath, false)
	if err != nil {
		return err
	}
	old, err := parseQuota(data)
	if err != nil {
		return err
	}
	for key, n := range limits {
		if n > -1 {
			old[key] = n
		}
	}
	_, err = s.zk.set(ctx, limitsPath, []byte(old.String()), -1)
	return err
}

// delQuota takes limits away, or the whole quota when none is named.
func (s *shell) delQuota(ctx context.Context, a *arguments) error {
	path := a.rest[0]
	at := quotaRoot + path
	if _, err := s.zk.exists(ctx, join(at, limitsNode), false); isCode(err, jute.NoNode) {
		s.printf("Quota does not exist for %s\n", path)
		return nil
	} else if err != nil {
		return err
	}
	data, _, err := s.zk.get(ctx, join(at, limitsNode), false)
	if err != nil {
		return err
	}
	limits, err := parseQuota(data)
	if err != nil {
		return err
	}
	some := false
	for _, o := range quotaOptions {
		if a.has(o.option) {
			limits[o.key] = -1
			some = true
		}
	}
	if some {
		_, err = s.zk.set(ctx, join(at, limitsNode), []byte(limits.String()), -1)
		return err
	}
	names, _, err := s.zk.children(ctx, at, false)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.zk.remove(ctx, join(at, name), -1); err != nil {
			return err
		}
	}
	return s.trimQuota(ctx, at)
}

// trimQuota deletes what is left of the way to a quota.
func (s *shell) trimQuota(ctx context.Context, at string) error {
	for ; at != quotaRoot; at = at[:strings.LastIndexByte(at, '/')] {
		names, _, err := s.zk.children(ctx, at, false)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return nil
		}
		if err := s.zk.remove(ctx, at, -1); err != nil {
			return err
		}
	}
	return nil
}
