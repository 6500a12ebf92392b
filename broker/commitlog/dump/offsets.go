package dump

//lint:file-ignore ST1005 the texts are those of Kafka's tool and are printed as they are

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/ottla/ottla/proto/record"
)

// Versions of the records of __consumer_offsets.
const (
	groupKeyVersion        = 2 // keys below are of committed offsets
	lastOffsetValueVersion = 4
	lastGroupValueVersion  = 4
	flexibleValueVersion   = 4
	consumerProtocolType   = "consumer"
)

// Offsets decodes the records of __consumer_offsets, as JSON (Kafka class OffsetsMessageParser).
func Offsets(r *record.Record) (Text, error) {
	if r.Key == nil {
		return Text{}, fmt.Errorf("Failed to decode message at offset %d using offset topic decoder (message had a missing key)", r.Offset) //nolint:staticcheck,revive // Kafka's words
	}
	in := &reader{p: r.Key}
	version := in.i16()
	var key json
	var value func([]byte) (string, error)
	switch {
	case in.err != nil:
	case version >= 0 && version < groupKeyVersion:
		key.open('{').name("group").str(in.text("group")).name("topic").str(in.text("topic")).name("partition").num(int64(in.i32())).close('}')
		value = offsetValue
	case version == groupKeyVersion:
		key.open('{').name("group").str(in.text("group")).close('}')
		value = groupValue
	default:
		return keyOnly("Unknown record type %d at offset %d, skipping.", version, r.Offset), nil
	}
	if in.err != nil {
		return keyOnly("Error at offset %d, skipping. %v", r.Offset, in.err), nil
	}
	var whole json
	whole.open('{').name("type").str(strconv.Itoa(int(version))).name("data").raw(key.String()).close('}')
	t := Text{Key: whole.String(), Payload: "<DELETE>", HasKey: true, HasPayload: true}
	if r.Value != nil {
		text, err := value(r.Value)
		if err != nil {
			return keyOnly("Error at offset %d, skipping. %v", r.Offset, err), nil
		}
		t.Payload = text
	}
	return t, nil
}

// keyOnly is a text in the place of the key.
func keyOnly(format string, args ...any) Text {
	return Text{Key: fmt.Sprintf(format, args...), HasKey: true}
}

// versioned wraps a value into its version.
func versioned(version int16, data *json) string {
	var j json
	j.open('{').name("version").str(strconv.Itoa(int(version))).name("data").raw(data.String()).close('}')
	return j.String()
}

// openValue reads the version of a value.
func openValue(p []byte, last int16) (*reader, int16) {
	r := &reader{p: p}
	version := r.i16()
	if r.err == nil && (version < 0 || version > last) {
		r.fail("the value has the version %d, the last one that is known is %d", version, last)
	}
	r.flex = version >= flexibleValueVersion
	return r, version
}

// offsetValue decodes a committed offset.
func offsetValue(p []byte) (string, error) {
	r, version := openValue(p, lastOffsetValueVersion)
	var j json
	j.open('{').name("offset").num(r.i64())
	if version >= 3 {
		j.name("leaderEpoch").num(int64(r.i32()))
	}
	j.name("metadata").str(r.text("metadata")).name("commitTimestamp").num(r.i64())
	if version == 1 {
		j.name("expireTimestamp").num(r.i64())
	}
	r.tags()
	j.close('}')
	return versioned(version, &j), r.err
}

// groupValue decodes the state of a group.
func groupValue(p []byte) (string, error) {
	r, version := openValue(p, lastGroupValueVersion)
	protocolType := r.text("protocolType")
	var j json
	j.open('{').name("protocolType").str(protocolType).name("generation").num(int64(r.i32())).name("protocol").null(r.str()).name("leader").null(r.str())
	if version >= 2 {
		j.name("currentStateTimestamp").num(r.i64())
	}
	j.name("members").open('[')
	for n := r.count(8); n > 0 && r.err == nil; n-- {
		member(&j, r, version, protocolType == consumerProtocolType)
	}
	j.close(']').close('}')
	r.tags()
	return versioned(version, &j), r.err
}

// member decodes a member of a group.
func member(j *json, r *reader, version int16, consumer bool) {
	j.open('{').name("memberId").str(r.text("memberId"))
	if version >= 3 {
		j.name("groupInstanceId").null(r.str())
	}
	j.name("clientId").str(r.text("clientId")).name("clientHost").str(r.text("clientHost"))
	if version >= 1 {
		j.name("rebalanceTimeout").num(int64(r.i32()))
	}
	j.name("sessionTimeout").num(int64(r.i32()))
	j.name("subscription").blob(r.bytes(), consumer, subscription)
	j.name("assignment").blob(r.bytes(), consumer, assignment)
	r.tags()
	j.close('}')
}

// subscription decodes what a consumer says when it joins (Kafka class ConsumerProtocolSubscription). The version is read already.
func subscription(j *json, r *reader, version int16) {
	j.open('{').name("topics").open('[')
	for n := r.count(2); n > 0 && r.err == nil; n-- {
		j.item().str(r.text("topic"))
	}
	j.close(']').name("userData").binary(r.bytes())
	if version >= 1 {
		j.name("ownedPartitions")
		partitions(j, r)
	}
	if version >= 2 {
		j.name("generationId").num(int64(r.i32()))
	}
	if version >= 3 {
		j.name("rackId").null(r.str())
	}
	j.close('}')
}

// assignment decodes what a leader gives to a consumer (Kafka class ConsumerProtocolAssignment).
func assignment(j *json, r *reader, _ int16) {
	j.open('{').name("assignedPartitions")
	partitions(j, r)
	j.name("userData").binary(r.bytes()).close('}')
}

// partitions decodes partitions by topic.
func partitions(j *json, r *reader) {
	j.open('[')
	for n := r.count(6); n > 0 && r.err == nil; n-- {
		j.open('{').name("topic").str(r.text("topic")).name("partitions").open('[')
		for m := r.count(4); m > 0 && r.err == nil; m-- {
			j.item().num(int64(r.i32()))
		}
		j.close(']').close('}')
	}
	j.close(']')
}

// json builds JSON without blanks.
type json struct{ p []byte }

// String returns what was built.
func (j *json) String() string { return string(j.p) }

// item puts a comma where one is needed.
func (j *json) item() *json {
	if n := len(j.p); n > 0 && j.p[n-1] != '{' && j.p[n-1] != '[' && j.p[n-1] != ':' {
		j.p = append(j.p, ',')
	}
	return j
}

func (j *json) open(bracket byte) *json  { j.item(); j.p = append(j.p, bracket); return j }
func (j *json) close(bracket byte) *json { j.p = append(j.p, bracket); return j }
func (j *json) raw(text string) *json    { j.p = append(j.p, text...); return j }
func (j *json) num(n int64) *json        { j.p = strconv.AppendInt(j.p, n, 10); return j }

func (j *json) name(n string) *json {
	j.item().str(n)
	j.p = append(j.p, ':')
	return j
}

// null adds a string or null.
func (j *json) null(s *string) *json {
	if s == nil {
		return j.raw("null")
	}
	return j.str(*s)
}

// binary adds bytes or null.
func (j *json) binary(p []byte) *json {
	if p == nil {
		return j.raw("null")
	}
	return j.raw(`"` + base64.StdEncoding.EncodeToString(p) + `"`)
}

// blob adds bytes that hold a structure with a version if they are a consumer's, or as they are if they are not.
func (j *json) blob(p []byte, consumer bool, decode func(*json, *reader, int16)) {
	if consumer {
		r := &reader{p: p}
		version := r.i16()
		var inner json
		if decode(&inner, r, version); r.err == nil {
			j.raw(inner.String())
			return
		}
	}
	if p == nil {
		p = []byte{}
	}
	j.binary(p)
}

// str adds a string. Control characters, quotes and backslashes are escaped, nothing else.
func (j *json) str(s string) *json {
	j.p = append(j.p, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			j.p = append(j.p, '\\', byte(c))
		case c == '\b':
			j.p = append(j.p, '\\', 'b')
		case c == '\t':
			j.p = append(j.p, '\\', 't')
		case c == '\n':
			j.p = append(j.p, '\\', 'n')
		case c == '\f':
			j.p = append(j.p, '\\', 'f')
		case c == '\r':
			j.p = append(j.p, '\\', 'r')
		case c < ' ':
			j.p = fmt.Appendf(j.p, `\u%04X`, c)
		default:
			j.p = utf8.AppendRune(j.p, c)
		}
	}
	j.p = append(j.p, '"')
	return j
}
