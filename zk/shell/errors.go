package shell

import (
	"errors"
	"strconv"

	"github.com/ottla/ottla/zk/jute"
)

// codes that package jute has no name for.
const (
	noQuorum            jute.Code = -13
	reconfigInProgress  jute.Code = -14
	invalidCallback     jute.Code = -113
	notReadOnly         jute.Code = -119
	ephemeralOnLocal    jute.Code = -120
	sessionRequiresSASL jute.Code = -124
	quotaExceeded       jute.Code = -125
	throttled           jute.Code = -127
)

// Exit codes.
const (
	exitFailed         = 1
	exitUnknownCommand = 127
)

// codeTexts are the words of ZooKeeper's client for result codes (Java class KeeperException).
var codeTexts = map[jute.Code]string{
	jute.OK: "ok", jute.SystemError: "SystemError", jute.RuntimeInconsistency: "RuntimeInconsistency", jute.DataInconsistency: "DataInconsistency",
	jute.ConnectionLoss: "ConnectionLoss", jute.MarshallingError: "MarshallingError", jute.Unimplemented: "Unimplemented",
	jute.OperationTimeout: "OperationTimeout", jute.BadArguments: "BadArguments", noQuorum: "NewConfigNoQuorum", reconfigInProgress: "ReconfigInProgress",
	jute.APIError: "APIError", jute.NoNode: "NoNode", jute.NoAuth: "NoAuth", jute.BadVersion: "BadVersion",
	jute.NoChildrenForEphemerals: "NoChildrenForEphemerals", jute.NodeExists: "NodeExists", jute.NotEmpty: "Directory not empty",
	jute.SessionExpired: "Session expired", invalidCallback: "Invalid callback", jute.InvalidACL: "InvalidACL", jute.AuthFailed: "AuthFailed",
	jute.SessionMoved: "Session moved", notReadOnly: "Not a read-only call", ephemeralOnLocal: "Ephemeral node on local session",
	jute.NoWatcher: "No such watcher", jute.ReconfigDisabled: "Reconfig is disabled",
	sessionRequiresSASL: "Session closed because client failed to authenticate", quotaExceeded: "Quota has exceeded", throttled: "Op throttled due to high load",
}

// resultError is a server's refusal, or the loss of the connection.
type resultError struct {
	code jute.Code
	path string // as the user named it; "" for none
}

// Error returns the message of Java's KeeperException.
func (e *resultError) Error() string {
	text, ok := codeTexts[e.code]
	if !ok {
		text = "Unknown error " + strconv.Itoa(int(e.code))
	}
	if e.path != "" {
		text += " for " + e.path
	}
	return "KeeperErrorCode = " + text
}

// isCode reports whether an error is a refusal with this code.
func isCode(err error, code jute.Code) bool {
	var r *resultError
	return errors.As(err, &r) && r.code == code
}

// failure is the end of a command: a message for standard error, and the shell's exit code if it is the last command.
type failure struct {
	text string
	exit int
}

// Error returns the message.
func (f *failure) Error() string { return f.text }

// failed makes a failure.
func failed(text string) error { return &failure{text, exitFailed} }

// explanations are what the shell says instead of some codes, followed by the path (Java class CliWrapperException).
var explanations = map[jute.Code]string{
	jute.NoNode: "Node does not exist: ", jute.NoChildrenForEphemerals: "Ephemerals cannot have children: ", jute.NodeExists: "Node already exists: ",
	jute.NotEmpty: "Node not empty: ", notReadOnly: "Not a read-only call: ", jute.InvalidACL: "Acl is not valid : ", jute.NoAuth: "Insufficient permission : ",
	jute.BadArguments: "Arguments are not valid : ", jute.BadVersion: "version No is not valid : ", quotaExceeded: "Quota has exceeded : ",
}

// explain turns the error of a command into a failure.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var r *resultError
	if !errors.As(err, &r) {
		return &failure{err.Error(), exitFailed}
	}
	switch text, ok := explanations[r.code]; {
	case ok && r.path == "":
		return &failure{text + "null", exitFailed}
	case ok:
		return &failure{text + r.path, exitFailed}
	case r.code == reconfigInProgress:
		return &failure{"Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)", exitFailed}
	case r.code == noQuorum:
		return &failure{"No quorum of new config is connected and up-to-date with the leader of last committed config - try invoking reconfiguration after new servers are connected and synced", exitFailed}
	default:
		return &failure{r.Error(), exitFailed}
	}
}
