// Package kerr is the table of Kafka's error codes: number, name, whether a client may try again, whether it should ask
// for new metadata first, and the standard text.
//
// Brokers answer with a [Code] per topic partition inside an otherwise successful response. Clients turn codes into
// [*Error] values, which work with errors.Is against the Code itself:
//
//	if errors.Is(err, kerr.NotLeaderOrFollower) { … }
//
// Everything here is immutable and safe for concurrent use.
package kerr

import (
	"errors"
	"strconv"
)

// Code is an error code of Kafka's protocol. Code implements error, so that it can be a target of errors.Is; the zero
// Code is [None], which is not an error: use [Code.Err] to turn a code from a response into an error or nil.
type Code int16

// entry is one row of the table.
type entry struct {
	code            Code
	name            string
	retriable       bool
	invalidMetadata bool
	message         string
}

// index maps a code to its row.
var index = func() map[Code]*entry {
	m := make(map[Code]*entry, len(table))
	for i := range table {
		m[table[i].code] = &table[i]
	}
	return m
}()

// row returns the table's row for c; codes that are not in the table read as UNKNOWN_SERVER_ERROR.
func (c Code) row() *entry {
	if e, ok := index[c]; ok {
		return e
	}
	return index[UnknownServerError]
}

// Name returns the code's name in Kafka's documentation, for example NOT_LEADER_OR_FOLLOWER. A code without a name
// reads UNKNOWN_CODE_<n>.
func (c Code) Name() string {
	if e, ok := index[c]; ok {
		return e.name
	}
	return "UNKNOWN_CODE_" + strconv.Itoa(int(c))
}

// String returns the name.
func (c Code) String() string { return c.Name() }

// Error returns the name and the standard text.
func (c Code) Error() string {
	if m := c.Message(); m != "" {
		return c.Name() + ": " + m
	}
	return c.Name()
}

// Message returns the standard text of the code; "" for [None].
func (c Code) Message() string { return c.row().message }

// Retriable reports whether a client library may repeat the request by itself.
func (c Code) Retriable() bool { return c.row().retriable }

// InvalidMetadata reports whether the client should fetch new metadata before it repeats the request.
func (c Code) InvalidMetadata() bool { return c.row().invalidMetadata }

// Err returns nil for [None] and an [*Error] with the standard text for every other code.
func (c Code) Err() error {
	if c == None {
		return nil
	}
	return &Error{Code: c}
}

// With returns an [*Error] of this code whose text is message instead of the standard one.
func (c Code) With(message string) *Error { return &Error{Code: c, Message: message} }

// Error is a code together with what the server, or the library, has to say about this one case.
type Error struct {
	// Code is never [None].
	Code Code
	// Message explains this occurrence; empty means that the code's standard text says it all.
	Message string
}

// Error returns the message if there is one, and the code's standard text otherwise, after the code's name.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.Error()
	}
	return e.Code.Name() + ": " + e.Message
}

// Text returns the message without the code's name, as Kafka's tools print it.
func (e *Error) Text() string {
	if e.Message == "" {
		return e.Code.Message()
	}
	return e.Message
}

// Is reports whether target is this error's code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// CodeOf returns the code that err carries: [None] for nil, [UnknownServerError] for an error that carries none.
func CodeOf(err error) Code {
	if err == nil {
		return None
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	var c Code
	if errors.As(err, &c) {
		return c
	}
	return UnknownServerError
}
