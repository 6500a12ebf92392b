package znode

import (
	"bytes"
	"encoding/json"
)

// EncodeConfig returns the content of a config entity's node (F§1.6). All values are strings, as in a properties file.
func EncodeConfig(config map[string]string) []byte {
	if config == nil {
		config = map[string]string{}
	}
	return marshal(struct {
		Version int32             `json:"version"`
		Config  map[string]string `json:"config"`
	}{1, config})
}

// DecodeConfig reads a config entity's node. A node without data has no settings. Values that are not strings, which no
// Kafka writes, are refused.
func DecodeConfig(path string, data []byte) (map[string]string, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return map[string]string{}, nil
	}
	var w struct {
		Config map[string]*string `json:"config"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(w.Config))
	for k, v := range w.Config {
		if v == nil {
			return nil, corrupt(path, "the value of %.80q is null, want a string", k)
		}
		out[k] = *v
	}
	return out, nil
}

// EncodeConfigChange returns the content of a config change notification.
func EncodeConfigChange(e Entity) []byte {
	return marshal(struct {
		Version int32  `json:"version"`
		Path    string `json:"entity_path"`
	}{2, e.RelativePath()})
}

// DecodeConfigChange reads version 2 of the notification, and version 1 with entity_type and entity_name.
func DecodeConfigChange(path string, data []byte) (Entity, error) {
	var w struct {
		Version *int32  `json:"version"`
		Path    *string `json:"entity_path"`
		Type    *string `json:"entity_type"`
		Name    *string `json:"entity_name"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return Entity{}, err
	}
	var relative string
	switch {
	case w.Version == nil:
		return Entity{}, missing(path, "version")
	case *w.Version == 1:
		if w.Type == nil || w.Name == nil || (*w.Type != string(TopicEntity) && *w.Type != string(ClientEntity)) {
			return Entity{}, corrupt(path, "version 1 wants entity_type topics or clients, and entity_name")
		}
		relative = *w.Type + "/" + *w.Name
	case *w.Version == 2:
		if w.Path == nil {
			return Entity{}, missing(path, "entity_path")
		}
		relative = *w.Path
	default:
		return Entity{}, corrupt(path, "the version is %d, want 1 or 2", *w.Version)
	}
	e, err := ParseEntity(relative)
	if err != nil {
		return Entity{}, corrupt(path, "%w", err)
	}
	return e, nil
}

// FeatureStatus tells whether feature versioning is in use.
type FeatureStatus int32

// The states of /feature.
const (
	// FeaturesDisabled means that no feature is finalized.
	FeaturesDisabled FeatureStatus = 0
	// FeaturesEnabled means that the finalized levels hold.
	FeaturesEnabled FeatureStatus = 1
)

// Feature is the content of /feature (F§1.8, KIP-584).
type Feature struct {
	// Status tells whether the levels hold.
	Status FeatureStatus
	// Levels are the finalized maximum levels by feature name.
	Levels map[string]int16
}

// Encode returns version 2, as written with inter.broker.protocol.version 3.3 and later.
func (f Feature) Encode() []byte {
	type level struct {
		Max int16 `json:"max_version_level"`
	}
	levels := make(map[string]level, len(f.Levels))
	for name, max := range f.Levels {
		levels[name] = level{max}
	}
	return marshal(struct {
		Version  int32            `json:"version"`
		Status   FeatureStatus    `json:"status"`
		Features map[string]level `json:"features"`
	}{2, f.Status, levels})
}

// DecodeFeature reads versions 1 and 2.
func DecodeFeature(path string, data []byte) (Feature, error) {
	var w struct {
		Version  *int32         `json:"version"`
		Status   *FeatureStatus `json:"status"`
		Features map[string]struct {
			Max *int16 `json:"max_version_level"`
		} `json:"features"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return Feature{}, err
	}
	switch {
	case w.Version == nil:
		return Feature{}, missing(path, "version")
	case *w.Version < 1 || *w.Version > 2:
		return Feature{}, corrupt(path, "the version is %d, want 1 or 2", *w.Version)
	case w.Status == nil:
		return Feature{}, missing(path, "status")
	case *w.Status != FeaturesDisabled && *w.Status != FeaturesEnabled:
		return Feature{}, corrupt(path, "status is %d, want 0 or 1", *w.Status)
	}
	f := Feature{Status: *w.Status, Levels: make(map[string]int16, len(w.Features))}
	for name, level := range w.Features {
		if level.Max == nil {
			return Feature{}, corrupt(path, "the feature %.80q has no max_version_level", name)
		}
		f.Levels[name] = *level.Max
	}
	return f, nil
}

// ACL is one access rule (F§1.8).
type ACL struct {
	// Principal is <type>:<name>, for example User:alice.
	Principal string `json:"principal"`
	// Permission is Allow or Deny.
	Permission string `json:"permissionType"`
	// Operation is Read, Write, …, All.
	Operation string `json:"operation"`
	// Host is an address or *.
	Host string `json:"host"`
}

// EncodeACLs returns the content of a resource's node below /kafka-acl.
func EncodeACLs(acls []ACL) []byte {
	if acls == nil {
		acls = []ACL{}
	}
	return marshal(struct {
		Version int32 `json:"version"`
		ACLs    []ACL `json:"acls"`
	}{1, acls})
}

// DecodeACLs reads the rules on a resource. A node without data has none.
func DecodeACLs(path string, data []byte) ([]ACL, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	var w struct {
		Version *int32 `json:"version"`
		ACLs    []ACL  `json:"acls"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return nil, err
	}
	if w.Version != nil && *w.Version != 1 {
		return nil, corrupt(path, "the version is %d, want 1", *w.Version)
	}
	for i, acl := range w.ACLs {
		if acl.Principal == "" || acl.Permission == "" || acl.Operation == "" || acl.Host == "" {
			return nil, corrupt(path, "entry %d of acls lacks principal, permissionType, operation or host", i)
		}
	}
	return w.ACLs, nil
}

// ACLChange tells the brokers which resource's rules have changed.
type ACLChange struct {
	// ResourceType is upper case: TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID, DELEGATION_TOKEN, USER.
	ResourceType string
	// Name is the resource's name or prefix.
	Name string
	// Pattern is LITERAL or PREFIXED.
	Pattern string
}

// Encode returns the text form for literal names (TOPIC:name) and JSON for other patterns. The first goes below
// [ACLChanges], the second below [ExtendedACLChanges].
func (c ACLChange) Encode() []byte {
	if c.Pattern == "LITERAL" {
		return []byte(c.ResourceType + ":" + c.Name)
	}
	return marshal(struct {
		Version int32  `json:"version"`
		Type    string `json:"resourceType"`
		Name    string `json:"name"`
		Pattern string `json:"patternType"`
	}{1, c.ResourceType, c.Name, c.Pattern})
}

// DecodeACLChange reads both forms. Older writers spell the type Topic instead of TOPIC: compare without regard to case.
func DecodeACLChange(path string, data []byte) (ACLChange, error) {
	if !json.Valid(data) || len(data) == 0 || data[0] != '{' {
		kind, name, ok := bytes.Cut(data, []byte(":"))
		if !ok || len(kind) == 0 {
			return ACLChange{}, corrupt(path, "want <type>:<name> or a JSON object, got %.80q", data)
		}
		return ACLChange{ResourceType: string(kind), Name: string(name), Pattern: "LITERAL"}, nil
	}
	var w struct {
		Type    *string `json:"resourceType"`
		Name    *string `json:"name"`
		Pattern *string `json:"patternType"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return ACLChange{}, err
	}
	if w.Type == nil || w.Name == nil || w.Pattern == nil {
		return ACLChange{}, corrupt(path, "resourceType, name or patternType is missing")
	}
	return ACLChange{ResourceType: *w.Type, Name: *w.Name, Pattern: *w.Pattern}, nil
}
