package shell

import (
	"context"
	"strings"
)

// command is one command of the shell that asks a server. Those that only concern the shell are in [shell.own].
type command struct {
	// options is what the usage shows behind the name.
	options string
	// flags and values are the names of options without and with a value.
	flags, values []string
	// oneOf says that the options exclude each other.
	oneOf bool
	// min is how many arguments there must be at least; fewer show the usage.
	min int
	// run carries the command out.
	run func(s *shell, ctx context.Context, a *arguments) error
}

// commands are those of ZooKeeper's client 3.8, by name.
var commands = map[string]*command{
	"addWatch":             {options: "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE", values: []string{"m"}, min: 1, run: (*shell).addWatch},
	"addauth":              {options: "scheme auth", min: 1, run: (*shell).addAuth},
	"close":                {run: (*shell).closeSession},
	"config":               {options: "[-c] [-w] [-s]", flags: []string{"c", "w", "s"}, run: (*shell).config},
	"create":               {options: "[-s] [-e] [-c] [-t ttl] path [data] [acl]", flags: []string{"s", "e", "c"}, values: []string{"t"}, min: 1, run: (*shell).create},
	"delete":               {options: "[-v version] path", values: []string{"v"}, min: 1, run: (*shell).delete},
	"deleteall":            {options: "path [-b batch size]", values: []string{"b"}, min: 1, run: (*shell).deleteAll},
	"delquota":             {options: "[-n|-b|-N|-B] path", flags: []string{"n", "b", "N", "B"}, oneOf: true, min: 1, run: (*shell).delQuota},
	"get":                  {options: "[-s] [-w] path", flags: []string{"s", "w"}, min: 1, run: (*shell).get},
	"getAcl":               {options: "[-s] path", flags: []string{"s"}, min: 1, run: (*shell).getACL},
	"getAllChildrenNumber": {options: "path", min: 1, run: (*shell).countAll},
	"getEphemerals":        {options: "path", run: (*shell).ephemerals},
	"listquota":            {options: "path", min: 1, run: (*shell).listQuota},
	"ls":                   {options: "[-s] [-w] [-R] path", flags: []string{"?", "s", "w", "R"}, run: (*shell).ls},
	"reconfig":             {options: "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]", flags: []string{"s"}, values: []string{"v", "file", "members", "add", "remove"}, run: (*shell).reconfig},
	"removewatches":        {options: "path [-c|-d|-a] [-l]", flags: []string{"c", "d", "a", "l"}, min: 1, run: (*shell).removeWatches},
	"set":                  {options: "[-s] [-v version] path data", flags: []string{"s"}, values: []string{"v"}, min: 2, run: (*shell).set},
	"setAcl":               {options: "[-s] [-v version] [-R] path acl", flags: []string{"s", "R"}, values: []string{"v"}, min: 2, run: (*shell).setACL},
	"setquota":             {options: "-n|-b|-N|-B val path", values: []string{"n", "b", "N", "B"}, oneOf: true, min: 1, run: (*shell).setQuota},
	"stat":                 {options: "[-w] path", flags: []string{"w"}, min: 1, run: (*shell).stat},
	"sync":                 {options: "path", min: 1, run: (*shell).sync},
	"version":              {run: (*shell).version},
	"whoami":               {run: (*shell).whoAmI},
}

// ownOptions is what the usage shows for the commands of the shell itself.
var ownOptions = map[string]string{"connect": "host:port", "history": "", "redo": "cmdno", "printwatches": "on|off", "quit": ""}

// usage is the line that a command shows when it is called in a wrong way.
func (c *command) usage(name string) string { return name + " " + c.options }

// deprecated tells that an old form was used.
func (s *shell) deprecated(old, now string) {
	s.errorf("'%s' has been deprecated. Please use '%s' instead.\n", old, now)
}

// ls lists children: in brackets, or with -R every node below, one in a line.
func (s *shell) ls(ctx context.Context, a *arguments) error {
	if a.has("?") {
		s.printf("usage: ls [options] path\n -?   help\n -R   recurse\n -s   stat\n -w   watch\n")
	}
	if len(a.rest) == 0 {
		return failed(a.usage)
	}
	watch := a.has("w")
	if len(a.rest) > 1 {
		s.deprecated("ls path [watch]", "ls [-w] path")
		watch = true
	}
	path := a.rest[0]
	if a.has("R") {
		return s.walk(ctx, path, watch, func(path string) { s.printf("%s\n", path) })
	}
	names, stat, err := s.zk.children(ctx, path, watch)
	if err != nil {
		return err
	}
	s.printf("%s\n", list(names))
	if a.has("s") {
		s.printStat(&stat)
	}
	return nil
}

// get prints a node's data.
func (s *shell) get(ctx context.Context, a *arguments) error {
	watch := a.has("w")
	if len(a.rest) > 1 {
		s.deprecated("get path [watch]", "get [-s] [-w] path")
		watch = true
	}
	data, stat, err := s.zk.get(ctx, a.rest[0], watch)
	if err != nil {
		return err
	}
	s.printf("%s\n", text(data))
	if a.has("s") {
		s.printStat(&stat)
	}
	return nil
}

// stat prints a node's Stat.
func (s *shell) stat(ctx context.Context, a *arguments) error {
	watch := a.has("w")
	if len(a.rest) > 1 {
		s.deprecated("stat path [watch]", "stat [-w] path")
		watch = true
	}
	stat, err := s.zk.exists(ctx, a.rest[0], watch)
	if err != nil {
		return err
	}
	s.printStat(&stat)
	return nil
}

// getACL prints a node's access list.
func (s *shell) getACL(ctx context.Context, a *arguments) error {
	acl, stat, err := s.zk.acl(ctx, a.rest[0])
	if err != nil {
		return err
	}
	for i := range acl {
		s.printf("'%s,'%s\n: %s\n", csv(acl[i].Scheme), csv(acl[i].ID), permissions(acl[i].Perms))
	}
	if a.has("s") {
		s.printStat(&stat)
	}
	return nil
}

// countAll prints how many nodes there are below a path.
func (s *shell) countAll(ctx context.Context, a *arguments) error {
	n, err := s.zk.countAll(ctx, a.rest[0])
	if err != nil {
		return err
	}
	s.printf("%d\n", n)
	return nil
}

// ephemerals prints the ephemeral nodes of this session.
func (s *shell) ephemerals(ctx context.Context, a *arguments) error {
	prefix := "/"
	if len(a.rest) > 0 {
		prefix = a.rest[0]
	}
	paths, err := s.zk.ephemerals(ctx, prefix)
	if err != nil {
		return err
	}
	s.printf("%s\n", list(paths))
	return nil
}

// config prints the configuration of the ensemble.
func (s *shell) config(ctx context.Context, a *arguments) error {
	data, stat, err := s.zk.config(ctx, a.has("w"))
	if err != nil {
		return err
	}
	if a.has("c") {
		s.printf("%s\n", clientConfig(text(data)))
	} else {
		s.printf("%s\n", text(data))
	}
	if a.has("s") {
		s.printStat(&stat)
	}
	return nil
}

// clientConfig is what clients need of an ensemble's configuration: its version, and the servers' addresses for clients.
func clientConfig(config string) string {
	version, servers := "", []string(nil)
	for line := range strings.Lines(config) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "version" {
			version = value
		}
		if _, client, ok := strings.Cut(value, ";"); ok && strings.HasPrefix(key, "server.") {
			servers = append(servers, client)
		}
	}
	return version + " " + strings.Join(servers, ",")
}

// sync waits until the server has caught up with the leader.
func (s *shell) sync(ctx context.Context, a *arguments) error {
	err := s.zk.sync(ctx, a.rest[0])
	if code, ok := codeOf(err); ok {
		s.printf("Sync has failed. rc=%d\n", code)
		return nil
	}
	if err == nil {
		s.printf("Sync is OK\n")
	}
	return err
}

// version prints which client this is.
func (s *shell) version(_ context.Context, a *arguments) error {
	if len(a.rest) > 0 {
		return failed(a.usage)
	}
	s.printf("ZooKeeper CLI version: %s\n", s.cfg.Version)
	return nil
}

// whoAmI prints the identities of the connection.
func (s *shell) whoAmI(ctx context.Context, _ *arguments) error {
	ids, err := s.zk.whoAmI(ctx)
	if err != nil {
		return err
	}
	s.printf("Auth scheme: User\n")
	for _, id := range ids {
		s.printf("%s: %s\n", id.scheme, id.user)
	}
	return nil
}

// addAuth adds an identity to the connection. The server's answer is only seen when it refuses.
func (s *shell) addAuth(_ context.Context, a *arguments) error {
	var auth []byte
	if len(a.rest) > 1 {
		auth = []byte(a.rest[1])
	}
	s.zk.authenticate(a.rest[0], auth)
	return nil
}

// closeSession ends the session; the shell goes on.
func (s *shell) closeSession(ctx context.Context, _ *arguments) error {
	s.zk.close(ctx)
	return nil
}
