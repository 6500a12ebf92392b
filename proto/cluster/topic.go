package cluster

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// MaxTopicNameLength is the longest legal topic name in bytes. It leaves room in a file name of 255 bytes for the
// partition and for the suffix of a directory that waits for deletion.
const MaxTopicNameLength = 249

// Names of the topics that the coordinators keep their state in. Clients may read them, not write them.
const (
	// GroupMetadataTopic holds committed offsets and group membership.
	GroupMetadataTopic = "__consumer_offsets"
	// TransactionStateTopic holds the state of transactions.
	TransactionStateTopic = "__transaction_state"
)

// IsInternalTopic reports whether the topic belongs to the coordinators.
func IsInternalTopic(name string) bool {
	return name == GroupMetadataTopic || name == TransactionStateTopic
}

// ValidateTopicName returns nil if the name is legal, and otherwise an error whose text is Kafka's: 1 to 249 characters of
// ASCII letters, digits, '.', '_' and '-', and neither "." nor "..". A legal name is safe as a file name.
func ValidateTopicName(name string) error {
	//lint:file-ignore ST1005 the texts are Kafka's and are printed as they are
	switch {
	case name == "":
		return fmt.Errorf("Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return fmt.Errorf("Topic name is invalid: '.' or '..' is not allowed")
	case len(name) > MaxTopicNameLength:
		return fmt.Errorf("Topic name is invalid: the length of '%s' is longer than the max allowed length %d", name, MaxTopicNameLength)
	}
	for i := range len(name) {
		c := name[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Errorf("Topic name is invalid: '%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
		}
	}
	return nil
}

// TopicNamesCollide reports whether two different topics would share one metric name: they are equal once every '.' has become '_'.
func TopicNamesCollide(a, b string) bool {
	return strings.ReplaceAll(a, ".", "_") == strings.ReplaceAll(b, ".", "_")
}

// TopicID is the UUID that tells a topic from an earlier one of the same name (KIP-516). The zero value means unknown.
type TopicID [16]byte

// NewTopicID returns a random id that is neither a reserved one (zero or one) nor starts with a dash in text form, which
// command lines would take for an option.
func NewTopicID() TopicID {
	for {
		var id TopicID
		_, _ = rand.Read(id[:]) // crypto/rand.Read never fails: it ends the program if the system has no randomness
		if id != (TopicID{}) && id != (TopicID{15: 1}) && id.String()[0] != '-' {
			return id
		}
	}
}

// IsZero reports whether the id is unknown.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// String returns Kafka's text form: 22 characters of URL-safe base64 without padding.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseTopicID is the inverse of [TopicID.String].
func ParseTopicID(s string) (TopicID, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(TopicID{}) {
		return TopicID{}, fmt.Errorf("parse topic id %q: want 22 characters of URL-safe base64", s)
	}
	return TopicID(b), nil
}
