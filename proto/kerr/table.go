package kerr

// The codes that a cluster coordinated by ZooKeeper can answer. Numbers and names are Kafka's and on the wire: do not change.
const (
	// UnknownServerError is UNKNOWN_SERVER_ERROR: the server experienced an unexpected error when processing the request.
	UnknownServerError Code = -1
	// None is NONE: success.
	None Code = 0
	// OffsetOutOfRange is OFFSET_OUT_OF_RANGE: the requested offset is not within the range of offsets maintained by the server.
	OffsetOutOfRange Code = 1
	// CorruptMessage is CORRUPT_MESSAGE: this message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt.
	CorruptMessage Code = 2
	// UnknownTopicOrPartition is UNKNOWN_TOPIC_OR_PARTITION: this server does not host this topic-partition.
	UnknownTopicOrPartition Code = 3
	// InvalidFetchSize is INVALID_FETCH_SIZE: the requested fetch size is invalid.
	InvalidFetchSize Code = 4
	// LeaderNotAvailable is LEADER_NOT_AVAILABLE: there is no leader for this topic-partition as we are in the middle of a leadership election.
	LeaderNotAvailable Code = 5
	// NotLeaderOrFollower is NOT_LEADER_OR_FOLLOWER: for requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.
	NotLeaderOrFollower Code = 6
	// RequestTimedOut is REQUEST_TIMED_OUT: the request timed out.
	RequestTimedOut Code = 7
	// BrokerNotAvailable is BROKER_NOT_AVAILABLE: the broker is not available.
	BrokerNotAvailable Code = 8
	// ReplicaNotAvailable is REPLICA_NOT_AVAILABLE: the replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.
	ReplicaNotAvailable Code = 9
	// MessageTooLarge is MESSAGE_TOO_LARGE: the request included a message larger than the max message size the server will accept.
	MessageTooLarge Code = 10
	// StaleControllerEpoch is STALE_CONTROLLER_EPOCH: the controller moved to another broker.
	StaleControllerEpoch Code = 11
	// OffsetMetadataTooLarge is OFFSET_METADATA_TOO_LARGE: the metadata field of the offset request was too large.
	OffsetMetadataTooLarge Code = 12
	// NetworkException is NETWORK_EXCEPTION: the server disconnected before a response was received.
	NetworkException Code = 13
	// CoordinatorLoadInProgress is COORDINATOR_LOAD_IN_PROGRESS: the coordinator is loading and hence can't process requests.
	CoordinatorLoadInProgress Code = 14
	// CoordinatorNotAvailable is COORDINATOR_NOT_AVAILABLE: the coordinator is not available.
	CoordinatorNotAvailable Code = 15
	// NotCoordinator is NOT_COORDINATOR: this is not the correct coordinator.
	NotCoordinator Code = 16
	// InvalidTopicException is INVALID_TOPIC_EXCEPTION: the request attempted to perform an operation on an invalid topic.
	InvalidTopicException Code = 17
	// RecordListTooLarge is RECORD_LIST_TOO_LARGE: the request included message batch larger than the configured segment size on the server.
	RecordListTooLarge Code = 18
	// NotEnoughReplicas is NOT_ENOUGH_REPLICAS: messages are rejected since there are fewer in-sync replicas than required.
	NotEnoughReplicas Code = 19
	// NotEnoughReplicasAfterAppend is NOT_ENOUGH_REPLICAS_AFTER_APPEND: messages are written to the log, but to fewer in-sync replicas than required.
	NotEnoughReplicasAfterAppend Code = 20
	// InvalidRequiredAcks is INVALID_REQUIRED_ACKS: produce request specified an invalid value for required acks.
	InvalidRequiredAcks Code = 21
	// IllegalGeneration is ILLEGAL_GENERATION: specified group generation id is not valid.
	IllegalGeneration Code = 22
	// InconsistentGroupProtocol is INCONSISTENT_GROUP_PROTOCOL: the group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list.
	InconsistentGroupProtocol Code = 23
	// InvalidGroupID is INVALID_GROUP_ID: the configured groupId is invalid.
	InvalidGroupID Code = 24
	// UnknownMemberID is UNKNOWN_MEMBER_ID: the coordinator is not aware of this member.
	UnknownMemberID Code = 25
	// InvalidSessionTimeout is INVALID_SESSION_TIMEOUT: the session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms).
	InvalidSessionTimeout Code = 26
	// RebalanceInProgress is REBALANCE_IN_PROGRESS: the group is rebalancing, so a rejoin is needed.
	RebalanceInProgress Code = 27
	// InvalidCommitOffsetSize is INVALID_COMMIT_OFFSET_SIZE: the committing offset data size is not valid.
	InvalidCommitOffsetSize Code = 28
	// TopicAuthorizationFailed is TOPIC_AUTHORIZATION_FAILED: topic authorization failed.
	TopicAuthorizationFailed Code = 29
	// GroupAuthorizationFailed is GROUP_AUTHORIZATION_FAILED: group authorization failed.
	GroupAuthorizationFailed Code = 30
	// ClusterAuthorizationFailed is CLUSTER_AUTHORIZATION_FAILED: cluster authorization failed.
	ClusterAuthorizationFailed Code = 31
	// InvalidTimestamp is INVALID_TIMESTAMP: the timestamp of the message is out of acceptable range.
	InvalidTimestamp Code = 32
	// UnsupportedSASLMechanism is UNSUPPORTED_SASL_MECHANISM: the broker does not support the requested SASL mechanism.
	UnsupportedSASLMechanism Code = 33
	// IllegalSASLState is ILLEGAL_SASL_STATE: request is not valid given the current SASL state.
	IllegalSASLState Code = 34
	// UnsupportedVersion is UNSUPPORTED_VERSION: the version of API is not supported.
	UnsupportedVersion Code = 35
	// TopicAlreadyExists is TOPIC_ALREADY_EXISTS: topic with this name already exists.
	TopicAlreadyExists Code = 36
	// InvalidPartitions is INVALID_PARTITIONS: number of partitions is below 1.
	InvalidPartitions Code = 37
	// InvalidReplicationFactor is INVALID_REPLICATION_FACTOR: replication factor is below 1 or larger than the number of available brokers.
	InvalidReplicationFactor Code = 38
	// InvalidReplicaAssignment is INVALID_REPLICA_ASSIGNMENT: replica assignment is invalid.
	InvalidReplicaAssignment Code = 39
	// InvalidConfig is INVALID_CONFIG: configuration is invalid.
	InvalidConfig Code = 40
	// NotController is NOT_CONTROLLER: this is not the correct controller for this cluster.
	NotController Code = 41
	// InvalidRequest is INVALID_REQUEST: this most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.
	InvalidRequest Code = 42
	// UnsupportedForMessageFormat is UNSUPPORTED_FOR_MESSAGE_FORMAT: the message format version on the broker does not support the request.
	UnsupportedForMessageFormat Code = 43
	// PolicyViolation is POLICY_VIOLATION: request parameters do not satisfy the configured policy.
	PolicyViolation Code = 44
	// OutOfOrderSequenceNumber is OUT_OF_ORDER_SEQUENCE_NUMBER: the broker received an out of order sequence number.
	OutOfOrderSequenceNumber Code = 45
	// DuplicateSequenceNumber is DUPLICATE_SEQUENCE_NUMBER: the broker received a duplicate sequence number.
	DuplicateSequenceNumber Code = 46
	// InvalidProducerEpoch is INVALID_PRODUCER_EPOCH: producer attempted to produce with an old epoch.
	InvalidProducerEpoch Code = 47
	// InvalidTxnState is INVALID_TXN_STATE: the producer attempted a transactional operation in an invalid state.
	InvalidTxnState Code = 48
	// InvalidProducerIDMapping is INVALID_PRODUCER_ID_MAPPING: the producer attempted to use a producer id which is not currently assigned to its transactional id.
	InvalidProducerIDMapping Code = 49
	// InvalidTransactionTimeout is INVALID_TRANSACTION_TIMEOUT: the transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).
	InvalidTransactionTimeout Code = 50
	// ConcurrentTransactions is CONCURRENT_TRANSACTIONS: the producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing.
	ConcurrentTransactions Code = 51
	// TransactionCoordinatorFenced is TRANSACTION_COORDINATOR_FENCED: indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer.
	TransactionCoordinatorFenced Code = 52
	// TransactionalIDAuthorizationFailed is TRANSACTIONAL_ID_AUTHORIZATION_FAILED: transactional Id authorization failed.
	TransactionalIDAuthorizationFailed Code = 53
	// SecurityDisabled is SECURITY_DISABLED: security features are disabled.
	SecurityDisabled Code = 54
	// OperationNotAttempted is OPERATION_NOT_ATTEMPTED: the broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest.
	OperationNotAttempted Code = 55
	// KafkaStorageError is KAFKA_STORAGE_ERROR: disk error when trying to access log file on the disk.
	KafkaStorageError Code = 56
	// LogDirNotFound is LOG_DIR_NOT_FOUND: the user-specified log directory is not found in the broker config.
	LogDirNotFound Code = 57
	// SASLAuthenticationFailed is SASL_AUTHENTICATION_FAILED: SASL Authentication failed.
	SASLAuthenticationFailed Code = 58
	// UnknownProducerID is UNKNOWN_PRODUCER_ID: this exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question.
	UnknownProducerID Code = 59
	// ReassignmentInProgress is REASSIGNMENT_IN_PROGRESS: a partition reassignment is in progress.
	ReassignmentInProgress Code = 60
	// DelegationTokenAuthDisabled is DELEGATION_TOKEN_AUTH_DISABLED: delegation Token feature is not enabled.
	DelegationTokenAuthDisabled Code = 61
	// DelegationTokenNotFound is DELEGATION_TOKEN_NOT_FOUND: delegation Token is not found on server.
	DelegationTokenNotFound Code = 62
	// DelegationTokenOwnerMismatch is DELEGATION_TOKEN_OWNER_MISMATCH: specified Principal is not valid Owner/Renewer.
	DelegationTokenOwnerMismatch Code = 63
	// DelegationTokenRequestNotAllowed is DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels.
	DelegationTokenRequestNotAllowed Code = 64
	// DelegationTokenAuthorizationFailed is DELEGATION_TOKEN_AUTHORIZATION_FAILED: delegation Token authorization failed.
	DelegationTokenAuthorizationFailed Code = 65
	// DelegationTokenExpired is DELEGATION_TOKEN_EXPIRED: delegation Token is expired.
	DelegationTokenExpired Code = 66
	// InvalidPrincipalType is INVALID_PRINCIPAL_TYPE: supplied principalType is not supported.
	InvalidPrincipalType Code = 67
	// NonEmptyGroup is NON_EMPTY_GROUP: the group is not empty.
	NonEmptyGroup Code = 68
	// GroupIDNotFound is GROUP_ID_NOT_FOUND: the group id does not exist.
	GroupIDNotFound Code = 69
	// FetchSessionIDNotFound is FETCH_SESSION_ID_NOT_FOUND: the fetch session ID was not found.
	FetchSessionIDNotFound Code = 70
	// InvalidFetchSessionEpoch is INVALID_FETCH_SESSION_EPOCH: the fetch session epoch is invalid.
	InvalidFetchSessionEpoch Code = 71
	// ListenerNotFound is LISTENER_NOT_FOUND: there is no listener on the leader broker that matches the listener on which metadata request was processed.
	ListenerNotFound Code = 72
	// TopicDeletionDisabled is TOPIC_DELETION_DISABLED: topic deletion is disabled.
	TopicDeletionDisabled Code = 73
	// FencedLeaderEpoch is FENCED_LEADER_EPOCH: the leader epoch in the request is older than the epoch on the broker.
	FencedLeaderEpoch Code = 74
	// UnknownLeaderEpoch is UNKNOWN_LEADER_EPOCH: the leader epoch in the request is newer than the epoch on the broker.
	UnknownLeaderEpoch Code = 75
	// UnsupportedCompressionType is UNSUPPORTED_COMPRESSION_TYPE: the requesting client does not support the compression type of given partition.
	UnsupportedCompressionType Code = 76
	// StaleBrokerEpoch is STALE_BROKER_EPOCH: broker epoch has changed.
	StaleBrokerEpoch Code = 77
	// OffsetNotAvailable is OFFSET_NOT_AVAILABLE: the leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing.
	OffsetNotAvailable Code = 78
	// MemberIDRequired is MEMBER_ID_REQUIRED: the group member needs to have a valid member id before actually entering a consumer group.
	MemberIDRequired Code = 79
	// PreferredLeaderNotAvailable is PREFERRED_LEADER_NOT_AVAILABLE: the preferred leader was not available.
	PreferredLeaderNotAvailable Code = 80
	// GroupMaxSizeReached is GROUP_MAX_SIZE_REACHED: the consumer group has reached its max size.
	GroupMaxSizeReached Code = 81
	// FencedInstanceID is FENCED_INSTANCE_ID: the broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.
	FencedInstanceID Code = 82
	// EligibleLeadersNotAvailable is ELIGIBLE_LEADERS_NOT_AVAILABLE: eligible topic partition leaders are not available.
	EligibleLeadersNotAvailable Code = 83
	// ElectionNotNeeded is ELECTION_NOT_NEEDED: leader election not needed for topic partition.
	ElectionNotNeeded Code = 84
	// NoReassignmentInProgress is NO_REASSIGNMENT_IN_PROGRESS: no partition reassignment is in progress.
	NoReassignmentInProgress Code = 85
	// GroupSubscribedToTopic is GROUP_SUBSCRIBED_TO_TOPIC: deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.
	GroupSubscribedToTopic Code = 86
	// InvalidRecord is INVALID_RECORD: this record has failed the validation on broker and hence will be rejected.
	InvalidRecord Code = 87
	// UnstableOffsetCommit is UNSTABLE_OFFSET_COMMIT: there are unstable offsets that need to be cleared.
	UnstableOffsetCommit Code = 88
	// ThrottlingQuotaExceeded is THROTTLING_QUOTA_EXCEEDED: the throttling quota has been exceeded.
	ThrottlingQuotaExceeded Code = 89
	// ProducerFenced is PRODUCER_FENCED: there is a newer producer with the same transactionalId which fences the current one.
	ProducerFenced Code = 90
	// ResourceNotFound is RESOURCE_NOT_FOUND: a request illegally referred to a resource that does not exist.
	ResourceNotFound Code = 91
	// DuplicateResource is DUPLICATE_RESOURCE: a request illegally referred to the same resource twice.
	DuplicateResource Code = 92
	// UnacceptableCredential is UNACCEPTABLE_CREDENTIAL: requested credential would not meet criteria for acceptability.
	UnacceptableCredential Code = 93
	// InvalidUpdateVersion is INVALID_UPDATE_VERSION: the given update version was invalid.
	InvalidUpdateVersion Code = 95
	// FeatureUpdateFailed is FEATURE_UPDATE_FAILED: unable to update finalized features due to an unexpected server error.
	FeatureUpdateFailed Code = 96
	// PrincipalDeserializationFailure is PRINCIPAL_DESERIALIZATION_FAILURE: request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup.
	PrincipalDeserializationFailure Code = 97
	// UnknownTopicID is UNKNOWN_TOPIC_ID: this server does not host this topic ID.
	UnknownTopicID Code = 100
	// BrokerIDNotRegistered is BROKER_ID_NOT_REGISTERED: the given broker ID was not registered.
	BrokerIDNotRegistered Code = 102
	// InconsistentTopicID is INCONSISTENT_TOPIC_ID: the log's topic ID did not match the topic ID in the request.
	InconsistentTopicID Code = 103
	// TransactionalIDNotFound is TRANSACTIONAL_ID_NOT_FOUND: the transactionalId could not be found.
	TransactionalIDNotFound Code = 105
	// FetchSessionTopicIDError is FETCH_SESSION_TOPIC_ID_ERROR: the fetch session encountered inconsistent topic ID usage.
	FetchSessionTopicIDError Code = 106
	// IneligibleReplica is INELIGIBLE_REPLICA: the new ISR contains at least one ineligible replica.
	IneligibleReplica Code = 107
	// NewLeaderElected is NEW_LEADER_ELECTED: the AlterPartition request successfully updated the partition state but the leader has changed.
	NewLeaderElected Code = 108
	// TransactionAbortable is TRANSACTION_ABORTABLE: the server encountered an error with the transaction. The client can abort the transaction to continue using this transactional ID.
	TransactionAbortable Code = 120
)

// table is what there is to know about each code, in the order of their numbers.
var table = []entry{
	{UnknownServerError, "UNKNOWN_SERVER_ERROR", false, false, "The server experienced an unexpected error when processing the request."},
	{None, "NONE", false, false, ""},
	{OffsetOutOfRange, "OFFSET_OUT_OF_RANGE", false, false, "The requested offset is not within the range of offsets maintained by the server."},
	{CorruptMessage, "CORRUPT_MESSAGE", true, false, "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt."},
	{UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION", true, true, "This server does not host this topic-partition."},
	{InvalidFetchSize, "INVALID_FETCH_SIZE", false, false, "The requested fetch size is invalid."},
	{LeaderNotAvailable, "LEADER_NOT_AVAILABLE", true, true, "There is no leader for this topic-partition as we are in the middle of a leadership election."},
	{NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER", true, true, "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition."},
	{RequestTimedOut, "REQUEST_TIMED_OUT", true, false, "The request timed out."},
	{BrokerNotAvailable, "BROKER_NOT_AVAILABLE", false, false, "The broker is not available."},
	{ReplicaNotAvailable, "REPLICA_NOT_AVAILABLE", true, true, "The replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition."},
	{MessageTooLarge, "MESSAGE_TOO_LARGE", false, false, "The request included a message larger than the max message size the server will accept."},
	{StaleControllerEpoch, "STALE_CONTROLLER_EPOCH", false, false, "The controller moved to another broker."},
	{OffsetMetadataTooLarge, "OFFSET_METADATA_TOO_LARGE", false, false, "The metadata field of the offset request was too large."},
	{NetworkException, "NETWORK_EXCEPTION", true, true, "The server disconnected before a response was received."},
	{CoordinatorLoadInProgress, "COORDINATOR_LOAD_IN_PROGRESS", true, false, "The coordinator is loading and hence can't process requests."},
	{CoordinatorNotAvailable, "COORDINATOR_NOT_AVAILABLE", true, false, "The coordinator is not available."},
	{NotCoordinator, "NOT_COORDINATOR", true, false, "This is not the correct coordinator."},
	{InvalidTopicException, "INVALID_TOPIC_EXCEPTION", false, false, "The request attempted to perform an operation on an invalid topic."},
	{RecordListTooLarge, "RECORD_LIST_TOO_LARGE", false, false, "The request included message batch larger than the configured segment size on the server."},
	{NotEnoughReplicas, "NOT_ENOUGH_REPLICAS", true, false, "Messages are rejected since there are fewer in-sync replicas than required."},
	{NotEnoughReplicasAfterAppend, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, false, "Messages are written to the log, but to fewer in-sync replicas than required."},
	{InvalidRequiredAcks, "INVALID_REQUIRED_ACKS", false, false, "Produce request specified an invalid value for required acks."},
	{IllegalGeneration, "ILLEGAL_GENERATION", false, false, "Specified group generation id is not valid."},
	{InconsistentGroupProtocol, "INCONSISTENT_GROUP_PROTOCOL", false, false, "The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list."},
	{InvalidGroupID, "INVALID_GROUP_ID", false, false, "The configured groupId is invalid."},
	{UnknownMemberID, "UNKNOWN_MEMBER_ID", false, false, "The coordinator is not aware of this member."},
	{InvalidSessionTimeout, "INVALID_SESSION_TIMEOUT", false, false, "The session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms)."},
	{RebalanceInProgress, "REBALANCE_IN_PROGRESS", false, false, "The group is rebalancing, so a rejoin is needed."},
	{InvalidCommitOffsetSize, "INVALID_COMMIT_OFFSET_SIZE", false, false, "The committing offset data size is not valid."},
	{TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED", false, false, "Topic authorization failed."},
	{GroupAuthorizationFailed, "GROUP_AUTHORIZATION_FAILED", false, false, "Group authorization failed."},
	{ClusterAuthorizationFailed, "CLUSTER_AUTHORIZATION_FAILED", false, false, "Cluster authorization failed."},
	{InvalidTimestamp, "INVALID_TIMESTAMP", false, false, "The timestamp of the message is out of acceptable range."},
	{UnsupportedSASLMechanism, "UNSUPPORTED_SASL_MECHANISM", false, false, "The broker does not support the requested SASL mechanism."},
	{IllegalSASLState, "ILLEGAL_SASL_STATE", false, false, "Request is not valid given the current SASL state."},
	{UnsupportedVersion, "UNSUPPORTED_VERSION", false, false, "The version of API is not supported."},
	{TopicAlreadyExists, "TOPIC_ALREADY_EXISTS", false, false, "Topic with this name already exists."},
	{InvalidPartitions, "INVALID_PARTITIONS", false, false, "Number of partitions is below 1."},
	{InvalidReplicationFactor, "INVALID_REPLICATION_FACTOR", false, false, "Replication factor is below 1 or larger than the number of available brokers."},
	{InvalidReplicaAssignment, "INVALID_REPLICA_ASSIGNMENT", false, false, "Replica assignment is invalid."},
	{InvalidConfig, "INVALID_CONFIG", false, false, "Configuration is invalid."},
	{NotController, "NOT_CONTROLLER", true, false, "This is not the correct controller for this cluster."},
	{InvalidRequest, "INVALID_REQUEST", false, false, "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details."},
	{UnsupportedForMessageFormat, "UNSUPPORTED_FOR_MESSAGE_FORMAT", false, false, "The message format version on the broker does not support the request."},
	{PolicyViolation, "POLICY_VIOLATION", false, false, "Request parameters do not satisfy the configured policy."},
	{OutOfOrderSequenceNumber, "OUT_OF_ORDER_SEQUENCE_NUMBER", false, false, "The broker received an out of order sequence number."},
	{DuplicateSequenceNumber, "DUPLICATE_SEQUENCE_NUMBER", false, false, "The broker received a duplicate sequence number."},
	{InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", false, false, "Producer attempted to produce with an old epoch."},
	{InvalidTxnState, "INVALID_TXN_STATE", false, false, "The producer attempted a transactional operation in an invalid state."},
	{InvalidProducerIDMapping, "INVALID_PRODUCER_ID_MAPPING", false, false, "The producer attempted to use a producer id which is not currently assigned to its transactional id."},
	{InvalidTransactionTimeout, "INVALID_TRANSACTION_TIMEOUT", false, false, "The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms)."},
	{ConcurrentTransactions, "CONCURRENT_TRANSACTIONS", true, false, "The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing."},
	{TransactionCoordinatorFenced, "TRANSACTION_COORDINATOR_FENCED", false, false, "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer."},
	{TransactionalIDAuthorizationFailed, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, false, "Transactional Id authorization failed."},
	{SecurityDisabled, "SECURITY_DISABLED", false, false, "Security features are disabled."},
	{OperationNotAttempted, "OPERATION_NOT_ATTEMPTED", false, false, "The broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest."},
	{KafkaStorageError, "KAFKA_STORAGE_ERROR", true, true, "Disk error when trying to access log file on the disk."},
	{LogDirNotFound, "LOG_DIR_NOT_FOUND", false, false, "The user-specified log directory is not found in the broker config."},
	{SASLAuthenticationFailed, "SASL_AUTHENTICATION_FAILED", false, false, "SASL Authentication failed."},
	{UnknownProducerID, "UNKNOWN_PRODUCER_ID", false, false, "This exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question."},
	{ReassignmentInProgress, "REASSIGNMENT_IN_PROGRESS", false, false, "A partition reassignment is in progress."},
	{DelegationTokenAuthDisabled, "DELEGATION_TOKEN_AUTH_DISABLED", false, false, "Delegation Token feature is not enabled."},
	{DelegationTokenNotFound, "DELEGATION_TOKEN_NOT_FOUND", false, false, "Delegation Token is not found on server."},
	{DelegationTokenOwnerMismatch, "DELEGATION_TOKEN_OWNER_MISMATCH", false, false, "Specified Principal is not valid Owner/Renewer."},
	{DelegationTokenRequestNotAllowed, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false, false, "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels."},
	{DelegationTokenAuthorizationFailed, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", false, false, "Delegation Token authorization failed."},
	{DelegationTokenExpired, "DELEGATION_TOKEN_EXPIRED", false, false, "Delegation Token is expired."},
	{InvalidPrincipalType, "INVALID_PRINCIPAL_TYPE", false, false, "Supplied principalType is not supported."},
	{NonEmptyGroup, "NON_EMPTY_GROUP", false, false, "The group is not empty."},
	{GroupIDNotFound, "GROUP_ID_NOT_FOUND", false, false, "The group id does not exist."},
	{FetchSessionIDNotFound, "FETCH_SESSION_ID_NOT_FOUND", true, false, "The fetch session ID was not found."},
	{InvalidFetchSessionEpoch, "INVALID_FETCH_SESSION_EPOCH", true, false, "The fetch session epoch is invalid."},
	{ListenerNotFound, "LISTENER_NOT_FOUND", true, true, "There is no listener on the leader broker that matches the listener on which metadata request was processed."},
	{TopicDeletionDisabled, "TOPIC_DELETION_DISABLED", false, false, "Topic deletion is disabled."},
	{FencedLeaderEpoch, "FENCED_LEADER_EPOCH", true, true, "The leader epoch in the request is older than the epoch on the broker."},
	{UnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH", true, false, "The leader epoch in the request is newer than the epoch on the broker."},
	{UnsupportedCompressionType, "UNSUPPORTED_COMPRESSION_TYPE", false, false, "The requesting client does not support the compression type of given partition."},
	{StaleBrokerEpoch, "STALE_BROKER_EPOCH", false, false, "Broker epoch has changed."},
	{OffsetNotAvailable, "OFFSET_NOT_AVAILABLE", true, false, "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing."},
	{MemberIDRequired, "MEMBER_ID_REQUIRED", false, false, "The group member needs to have a valid member id before actually entering a consumer group."},
	{PreferredLeaderNotAvailable, "PREFERRED_LEADER_NOT_AVAILABLE", true, true, "The preferred leader was not available."},
	{GroupMaxSizeReached, "GROUP_MAX_SIZE_REACHED", false, false, "The consumer group has reached its max size."},
	{FencedInstanceID, "FENCED_INSTANCE_ID", false, false, "The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id."},
	{EligibleLeadersNotAvailable, "ELIGIBLE_LEADERS_NOT_AVAILABLE", true, true, "Eligible topic partition leaders are not available."},
	{ElectionNotNeeded, "ELECTION_NOT_NEEDED", true, true, "Leader election not needed for topic partition."},
	{NoReassignmentInProgress, "NO_REASSIGNMENT_IN_PROGRESS", false, false, "No partition reassignment is in progress."},
	{GroupSubscribedToTopic, "GROUP_SUBSCRIBED_TO_TOPIC", false, false, "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."},
	{InvalidRecord, "INVALID_RECORD", false, false, "This record has failed the validation on broker and hence will be rejected."},
	{UnstableOffsetCommit, "UNSTABLE_OFFSET_COMMIT", true, false, "There are unstable offsets that need to be cleared."},
	{ThrottlingQuotaExceeded, "THROTTLING_QUOTA_EXCEEDED", true, false, "The throttling quota has been exceeded."},
	{ProducerFenced, "PRODUCER_FENCED", false, false, "There is a newer producer with the same transactionalId which fences the current one."},
	{ResourceNotFound, "RESOURCE_NOT_FOUND", false, false, "A request illegally referred to a resource that does not exist."},
	{DuplicateResource, "DUPLICATE_RESOURCE", false, false, "A request illegally referred to the same resource twice."},
	{UnacceptableCredential, "UNACCEPTABLE_CREDENTIAL", false, false, "Requested credential would not meet criteria for acceptability."},
	{InvalidUpdateVersion, "INVALID_UPDATE_VERSION", false, false, "The given update version was invalid."},
	{FeatureUpdateFailed, "FEATURE_UPDATE_FAILED", false, false, "Unable to update finalized features due to an unexpected server error."},
	{PrincipalDeserializationFailure, "PRINCIPAL_DESERIALIZATION_FAILURE", false, false, "Request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup."},
	{UnknownTopicID, "UNKNOWN_TOPIC_ID", true, true, "This server does not host this topic ID."},
	{BrokerIDNotRegistered, "BROKER_ID_NOT_REGISTERED", false, false, "The given broker ID was not registered."},
	{InconsistentTopicID, "INCONSISTENT_TOPIC_ID", true, true, "The log's topic ID did not match the topic ID in the request."},
	{TransactionalIDNotFound, "TRANSACTIONAL_ID_NOT_FOUND", false, false, "The transactionalId could not be found."},
	{FetchSessionTopicIDError, "FETCH_SESSION_TOPIC_ID_ERROR", true, false, "The fetch session encountered inconsistent topic ID usage."},
	{IneligibleReplica, "INELIGIBLE_REPLICA", false, false, "The new ISR contains at least one ineligible replica."},
	{NewLeaderElected, "NEW_LEADER_ELECTED", false, false, "The AlterPartition request successfully updated the partition state but the leader has changed."},
	{TransactionAbortable, "TRANSACTION_ABORTABLE", false, false, "The server encountered an error with the transaction. The client can abort the transaction to continue using this transactional ID."},
}
