package znode

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// Fixed paths, relative to the chroot (F§1.2).
const (
	// Root is the chroot itself.
	Root = "/"
	// ClusterIDPath holds the cluster's id, see [EncodeClusterID].
	ClusterIDPath = "/cluster/id"
	// BrokerSecretPath holds what brokers prove with that they belong to the cluster, see [EncodeBrokerSecret]. Kafka has no such node.
	BrokerSecretPath = "/ottla/broker_secret"
	// ClockPath is written by brokers that want to know what time it is by ZooKeeper's clock. Kafka has no such node.
	ClockPath = "/ottla/clock"
	// BrokerIDs is the parent of the brokers' ephemeral registrations.
	BrokerIDs = "/brokers/ids"
	// BrokerTopics is the parent of all topics.
	BrokerTopics = "/brokers/topics"
	// BrokerSeqID is written by brokers with broker.id=-1; its znode version is the source of generated ids.
	BrokerSeqID = "/brokers/seqid"
	// ControllerPath is the ephemeral node of the elected controller, see [Controller].
	ControllerPath = "/controller"
	// ControllerEpochPath holds the controller epoch as plain ASCII digits. Its znode version fences every controller write.
	ControllerEpochPath = "/controller_epoch"
	// ConfigChanges is the parent of the sequential notifications that a dynamic configuration has changed.
	ConfigChanges = "/config/changes"
	// DeleteTopics is the parent of the topics whose deletion has been asked for; its children hold null.
	DeleteTopics = "/admin/delete_topics"
	// ReassignPartitions holds reassignments asked for the classic way, see [Reassignment].
	ReassignPartitions = "/admin/reassign_partitions"
	// PreferredReplicaElection holds preferred elections asked for the classic way.
	PreferredReplicaElection = "/admin/preferred_replica_election"
	// ISRChangeNotification is the parent of the notifications of leaders that write partition states themselves.
	ISRChangeNotification = "/isr_change_notification"
	// LogDirEventNotification is the parent of the notifications of failed log directories.
	LogDirEventNotification = "/log_dir_event_notification"
	// LatestProducerIDBlock holds the block of producer ids that was claimed last, see [ProducerIDBlock].
	LatestProducerIDBlock = "/latest_producer_id_block"
	// FeaturePath holds the finalized features, see [Feature].
	FeaturePath = "/feature"
	// ConsumersPath is the parent of the old consumers' group nodes.
	ConsumersPath = "/consumers"
	// MigrationPath is used by migrations to KRaft only. It is never written.
	MigrationPath = "/migration"
	// ACLPath is the parent of the access rules on literal resource names.
	ACLPath = "/kafka-acl"
	// ExtendedACLPath is the parent of the access rules on other patterns.
	ExtendedACLPath = "/kafka-acl-extended"
	// ACLChanges is the parent of the change notifications of [ACLPath].
	ACLChanges = "/kafka-acl-changes"
	// ExtendedACLChanges is the parent of the change notifications of [ExtendedACLPath].
	ExtendedACLChanges = "/kafka-acl-extended-changes"
	// DelegationTokens is the parent of the delegation tokens.
	DelegationTokens = "/delegation_token/tokens"
	// DelegationTokenChanges is the parent of their change notifications.
	DelegationTokenChanges = "/delegation_token/token_changes"
)

// DefaultEntity is the literal node name of the entity that stands for all those without settings of their own.
const DefaultEntity = "<default>"

// Prefixes of sequential nodes. ZooKeeper appends ten digits.
const (
	configChangePrefix = "config_change_"
	isrChangePrefix    = "isr_change_"
	logDirEventPrefix  = "log_dir_event_"
	aclChangePrefix    = "acl_changes_"
	tokenChangePrefix  = "token_change_"
)

// PersistentPaths returns the nodes that every broker creates at start, with null data, in Kafka's order (F§1.1). Parents
// that are not in the list (/brokers, /config, /admin) come into being with their children.
func PersistentPaths() []string {
	return []string{
		ConsumersPath, BrokerIDs, BrokerTopics, ConfigChanges, DeleteTopics, BrokerSeqID, ISRChangeNotification,
		LatestProducerIDBlock, LogDirEventNotification,
		"/config/topics", "/config/clients", "/config/users", "/config/brokers", "/config/ips",
	}
}

// BrokerPath is the registration of a broker.
func BrokerPath(id cluster.BrokerID) string { return BrokerIDs + "/" + strconv.Itoa(int(id)) }

// ParseBrokerID reads the name of a child of [BrokerIDs].
func ParseBrokerID(name string) (cluster.BrokerID, error) {
	id, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return 0, corrupt(BrokerIDs, "the child %.40q is not a broker id", name)
	}
	return cluster.BrokerID(id), nil
}

// TopicPath is a topic's replica assignment, see [Topic].
func TopicPath(topic string) string { return BrokerTopics + "/" + topic }

// PartitionsPath is the parent of a topic's partitions.
func PartitionsPath(topic string) string { return TopicPath(topic) + "/partitions" }

// PartitionPath is the parent of a partition's state; it holds null.
func PartitionPath(tp cluster.TopicPartition) string {
	return PartitionsPath(tp.Topic) + "/" + strconv.Itoa(int(tp.Partition))
}

// PartitionStatePath is a partition's state, see [PartitionState].
func PartitionStatePath(tp cluster.TopicPartition) string { return PartitionPath(tp) + "/state" }

// ParseTopicPath is the inverse of [TopicPath]. ok is false for any other path.
func ParseTopicPath(path string) (topic string, ok bool) {
	topic, ok = strings.CutPrefix(path, BrokerTopics+"/")
	if !ok || topic == "" || strings.Contains(topic, "/") {
		return "", false
	}
	return topic, true
}

// DeleteTopicPath asks for the deletion of a topic; it holds null.
func DeleteTopicPath(topic string) string { return DeleteTopics + "/" + topic }

// EntityType is a kind of thing that has dynamic configuration: the first path element below /config.
type EntityType string

// The entity types of a ZooKeeper-coordinated cluster.
const (
	// TopicEntity is a topic.
	TopicEntity EntityType = "topics"
	// BrokerEntity is a broker, or all brokers.
	BrokerEntity EntityType = "brokers"
	// ClientEntity is a client id.
	ClientEntity EntityType = "clients"
	// UserEntity is a user principal, with its quotas and SCRAM credentials.
	UserEntity EntityType = "users"
	// IPEntity is a client address.
	IPEntity EntityType = "ips"
)

// Entity is something that has a dynamic configuration. Name is the plain name ([DefaultEntity] for the default one);
// the path functions encode it where Kafka does. It is comparable.
type Entity struct {
	// Type is the kind.
	Type EntityType
	// Name is the plain name, not URL-encoded.
	Name string
	// Client is the client id of a combined user and client entity, empty otherwise. Only with [UserEntity].
	Client string
}

// RelativePath returns the path below /config, as it stands in change notifications: topics/t, users/u/clients/c.
func (e Entity) RelativePath() string {
	name := e.Name
	if e.Type == UserEntity || e.Type == ClientEntity {
		name = Sanitize(name)
	}
	path := string(e.Type) + "/" + name
	if e.Client != "" {
		path += "/" + string(ClientEntity) + "/" + Sanitize(e.Client)
	}
	return path
}

// Path returns the entity's node, see [EncodeConfig].
func (e Entity) Path() string { return "/config/" + e.RelativePath() }

// String returns the relative path.
func (e Entity) String() string { return e.RelativePath() }

// ConfigTypePath is the parent of all entities of a type.
func ConfigTypePath(t EntityType) string { return "/config/" + string(t) }

// ParseEntity reads a path below /config, the inverse of [Entity.RelativePath].
func ParseEntity(relative string) (Entity, error) {
	parts := strings.Split(relative, "/")
	e := Entity{Type: EntityType(parts[0])}
	switch e.Type {
	case TopicEntity, BrokerEntity, ClientEntity, UserEntity, IPEntity:
	default:
		return Entity{}, fmt.Errorf("parse config entity %.80q: unknown type %.40q", relative, parts[0])
	}
	combined := len(parts) == 4 && e.Type == UserEntity && parts[2] == string(ClientEntity)
	if len(parts) != 2 && !combined {
		return Entity{}, fmt.Errorf("parse config entity %.80q: want <type>/<name> or users/<user>/clients/<client>", relative)
	}
	var err error
	if e.Name, err = entityName(e.Type, parts[1]); err == nil && combined {
		e.Client, err = entityName(ClientEntity, parts[3])
	}
	if err != nil {
		return Entity{}, fmt.Errorf("parse config entity %.80q: %w", relative, err)
	}
	return e, nil
}

// entityName decodes one path element of the given type.
func entityName(t EntityType, element string) (string, error) {
	if element == "" {
		return "", fmt.Errorf("the name is empty")
	}
	if t == UserEntity || t == ClientEntity {
		return Desanitize(element)
	}
	return element, nil
}

// Sanitize encodes a user or client name for a path as Kafka's Sanitizer does: Java's URL encoding with '+' as %20 and
// '*' as %2A. [DefaultEntity] stays as it is.
func Sanitize(name string) string {
	if name == DefaultEntity {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Desanitize is the inverse of [Sanitize].
func Desanitize(name string) (string, error) {
	if name == DefaultEntity {
		return name, nil
	}
	plain, err := url.QueryUnescape(name)
	if err != nil {
		return "", fmt.Errorf("decode the name %.80q: %w", name, err)
	}
	return plain, nil
}

// ConfigChangePrefix is the path to create a sequential configuration change notification at.
const ConfigChangePrefix = ConfigChanges + "/" + configChangePrefix

// ISRChangePrefix is the path to create a sequential ISR change notification at.
const ISRChangePrefix = ISRChangeNotification + "/" + isrChangePrefix

// LogDirEventPrefix is the path to create a sequential log directory notification at.
const LogDirEventPrefix = LogDirEventNotification + "/" + logDirEventPrefix

// ACLChangePrefix is the path to create a sequential notification about rules on literal names at.
const ACLChangePrefix = ACLChanges + "/" + aclChangePrefix

// ExtendedACLChangePrefix is the path to create a sequential notification about rules on other patterns at.
const ExtendedACLChangePrefix = ExtendedACLChanges + "/" + aclChangePrefix

// DelegationTokenChangePrefix is the path to create a sequential delegation token notification at.
const DelegationTokenChangePrefix = DelegationTokenChanges + "/" + tokenChangePrefix

// Sequence returns the number that ZooKeeper appended to a sequential node of this package's prefixes. It accepts a
// name or a path. ok is false when the name is not of that form.
func Sequence(name string) (n int64, ok bool) {
	name = name[strings.LastIndexByte(name, '/')+1:]
	for _, prefix := range []string{configChangePrefix, isrChangePrefix, logDirEventPrefix, aclChangePrefix, tokenChangePrefix} {
		if digits, found := strings.CutPrefix(name, prefix); found {
			n, err := strconv.ParseInt(digits, 10, 64)
			return n, err == nil && len(digits) >= 10
		}
	}
	return 0, false
}

// ResourceACLPath is the access rules on a literal resource name. resourceType is Topic, Group, Cluster,
// TransactionalId, DelegationToken or User.
func ResourceACLPath(resourceType, name string) string {
	return ACLPath + "/" + resourceType + "/" + name
}

// PrefixedACLPath is the access rules on all resources whose name starts with prefix.
func PrefixedACLPath(resourceType, prefix string) string {
	return ExtendedACLPath + "/prefixed/" + resourceType + "/" + prefix
}

// DelegationTokenPath is one delegation token.
func DelegationTokenPath(tokenID string) string { return DelegationTokens + "/" + tokenID }

// ConsumerOffsetPath is the offset that a client of the old protocol committed: a plain ASCII number.
func ConsumerOffsetPath(group string, tp cluster.TopicPartition) string {
	return ConsumersPath + "/" + group + "/offsets/" + tp.Topic + "/" + strconv.Itoa(int(tp.Partition))
}
