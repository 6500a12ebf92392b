// Package shell is the command line client of ZooKeeper: it reads commands such as "ls /brokers" and prints what ZooKeeper's own client, 3.8, prints, so
// that operators and their scripts find what they are used to, with no Java around.
//
// It speaks the protocol itself (package jute), because a shell needs what the library behind package zk does not have: nodes with null data, access lists,
// containers and times to live, persistent watches, whoami, and a session that reconnects and says so.
//
// # Goroutines
//
// A session has one goroutine that connects, reads replies and prints watch events, and one that pings. [Run] has one that reads lines. Commands are carried
// out one after another by the caller of Run. All but the reader of lines end before Run returns; that one ends with its next line or the end of its input.
//
// # Differences from ZooKeeper's client
//
// An event that arrives before a reply is printed before what the command prints; there it may come at any time. The session is closed when the shell ends,
// also at the end of its input and after a single command; there it lives on until it expires, with its ephemeral nodes. Numbers that cannot be read are an
// error of the command, there they end the client. "delete path version" minds the version, there it is forgotten. Options of an earlier addWatch are
// forgotten, there they stay.
package shell
