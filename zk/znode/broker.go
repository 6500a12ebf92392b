package znode

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// brokerVersion is the version of the registration that brokers write (inter.broker.protocol.version 2.7 and later).
const brokerVersion = 5

// Broker is the content of /brokers/ids/<id> (F§1.4). The broker's epoch is not in it: it is the node's czxid.
type Broker struct {
	// Endpoints are the advertised listeners. At least one.
	Endpoints []cluster.Endpoint
	// JMXPort is -1 when there is none, as always with Ottla.
	JMXPort int32
	// Timestamp is the time of the registration in milliseconds since 1970.
	Timestamp int64
	// Rack is broker.rack, empty when not set.
	Rack string
	// Features are the ranges of feature levels that the broker supports. Normally empty.
	Features map[string]VersionRange
	// Since is the epoch of the first registration of a process that registers again because its session was over; 0 for a process that has just started.
	// Kafka has nothing like it: its brokers and tools ignore it.
	Since cluster.BrokerEpoch
}

// VersionRange is the range of levels of one feature.
type VersionRange struct {
	// Min is the lowest level.
	Min int16 `json:"min_version"`
	// Max is the highest level.
	Max int16 `json:"max_version"`
}

// brokerJSON is what stands in the znode, in Kafka's order.
type brokerJSON struct {
	Version     int32                   `json:"version"`
	Host        *string                 `json:"host"`
	Port        int32                   `json:"port"`
	JMXPort     int32                   `json:"jmx_port"`
	Timestamp   textInt                 `json:"timestamp"`
	Endpoints   []string                `json:"endpoints"`
	ProtocolMap map[string]string       `json:"listener_security_protocol_map"`
	Rack        string                  `json:"rack,omitempty"`
	Features    map[string]VersionRange `json:"features"`
	Since       cluster.BrokerEpoch     `json:"ottla_since,omitempty"`
}

// Encode returns version 5 of the registration. host and port, which very old clients use, are those of the first
// PLAINTEXT endpoint, or null and -1.
func (b Broker) Encode() []byte {
	w := brokerJSON{
		Version: brokerVersion, Port: -1, JMXPort: b.JMXPort, Timestamp: textInt(b.Timestamp),
		Endpoints: []string{}, ProtocolMap: map[string]string{}, Rack: b.Rack, Features: b.Features, Since: b.Since,
	}
	for _, e := range b.Endpoints {
		if e.SecurityProtocol == "PLAINTEXT" && w.Host == nil {
			host := e.Host
			w.Host, w.Port = &host, e.Port
		}
		w.Endpoints = append(w.Endpoints, e.String())
		w.ProtocolMap[e.Listener] = e.SecurityProtocol
	}
	if w.Features == nil {
		w.Features = map[string]VersionRange{}
	}
	return marshal(w)
}

// DecodeBroker reads any version of the registration. Version 1 has host and port only; before version 4 the listener's
// name is its security protocol.
func DecodeBroker(path string, data []byte) (Broker, error) {
	w := struct {
		Version   *int32            `json:"version"`
		Host      *string           `json:"host"`
		Port      *int32            `json:"port"`
		JMXPort   *int32            `json:"jmx_port"`
		Timestamp *textInt          `json:"timestamp"`
		Endpoints []string          `json:"endpoints"`
		Rack      *string           `json:"rack"`
		Features  json.RawMessage   `json:"features"`
		Since     json.RawMessage   `json:"ottla_since"`
		Map       map[string]string `json:"listener_security_protocol_map"`
	}{}
	if err := unmarshal(path, data, &w); err != nil {
		return Broker{}, err
	}
	if w.Version == nil {
		return Broker{}, missing(path, "version")
	}
	if *w.Version < 1 {
		return Broker{}, corrupt(path, "the version is %d, want 1 or more", *w.Version)
	}
	b := Broker{JMXPort: -1, Since: since(w.Since)}
	if w.JMXPort != nil {
		b.JMXPort = *w.JMXPort
	}
	if w.Timestamp != nil {
		b.Timestamp = int64(*w.Timestamp)
	}
	if w.Rack != nil {
		b.Rack = *w.Rack
	}
	if err := b.decodeFeatures(path, w.Features); err != nil {
		return Broker{}, err
	}
	if *w.Version == 1 {
		if w.Host == nil || w.Port == nil {
			return Broker{}, corrupt(path, "version 1 without host and port")
		}
		w.Endpoints = []string{cluster.Endpoint{Listener: "PLAINTEXT", Host: *w.Host, Port: *w.Port}.String()}
	}
	if len(w.Endpoints) == 0 {
		return Broker{}, corrupt(path, "there are no endpoints")
	}
	for _, text := range w.Endpoints {
		e, err := parseEndpoint(text)
		if err != nil {
			return Broker{}, corrupt(path, "%w", err)
		}
		e.SecurityProtocol = e.Listener
		if p, ok := w.Map[e.Listener]; ok {
			e.SecurityProtocol = p
		}
		b.Endpoints = append(b.Endpoints, e)
	}
	return b, nil
}

// since reads what only Ottla writes; anything else is a process that has just started.
func since(raw json.RawMessage) cluster.BrokerEpoch {
	var epoch cluster.BrokerEpoch
	if err := json.Unmarshal(raw, &epoch); err != nil {
		return 0
	}
	return max(epoch, 0)
}

// decodeFeatures reads the feature ranges, which may be absent.
func (b *Broker) decodeFeatures(path string, raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, &b.Features); err != nil {
		return corrupt(path, "features: %w", err)
	}
	if len(b.Features) == 0 {
		b.Features = nil
	}
	return nil
}

// parseEndpoint reads LISTENER://host:port. An IPv6 address stands in brackets.
func parseEndpoint(text string) (cluster.Endpoint, error) {
	listener, addr, ok := strings.Cut(text, "://")
	i := strings.LastIndexByte(addr, ':')
	if !ok || listener == "" || i < 0 {
		return cluster.Endpoint{}, fmt.Errorf("the endpoint %.100q is not <LISTENER>://<host>:<port>", text)
	}
	port, err := strconv.ParseInt(addr[i+1:], 10, 32)
	if err != nil || port < -1 || port > 65535 {
		return cluster.Endpoint{}, fmt.Errorf("the endpoint %.100q has no port from 0 to 65535", text)
	}
	host := addr[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return cluster.Endpoint{Listener: listener, Host: host, Port: int32(port)}, nil
}

// Endpoint returns the broker's endpoint under a listener's name.
func (b Broker) Endpoint(listener string) (cluster.Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	return cluster.Endpoint{}, false
}

// Controller is the content of /controller (F§1.3). The node is ephemeral; who owns it is told by its ephemeralOwner.
type Controller struct {
	// Broker is the elected broker.
	Broker cluster.BrokerID
	// Timestamp is the time of the election in milliseconds since 1970.
	Timestamp int64
}

// Encode returns version 2, as written since Kafka 3.4 outside a migration to KRaft.
func (c Controller) Encode() []byte {
	return marshal(struct {
		Version   int32            `json:"version"`
		Broker    cluster.BrokerID `json:"brokerid"`
		Timestamp textInt          `json:"timestamp"`
		KRaft     int32            `json:"kraftControllerEpoch"`
	}{2, c.Broker, textInt(c.Timestamp), -1})
}

// DecodeController reads any version; only brokerid is required.
func DecodeController(path string, data []byte) (Controller, error) {
	var w struct {
		Broker    *cluster.BrokerID `json:"brokerid"`
		Timestamp textInt           `json:"timestamp"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return Controller{}, err
	}
	if w.Broker == nil {
		return Controller{}, missing(path, "brokerid")
	}
	if *w.Broker < 0 {
		return Controller{}, corrupt(path, "brokerid is %d, ids start at 0", *w.Broker)
	}
	return Controller{Broker: *w.Broker, Timestamp: int64(w.Timestamp)}, nil
}

// EncodeControllerEpoch returns the epoch as plain ASCII digits.
func EncodeControllerEpoch(e cluster.ControllerEpoch) []byte {
	return strconv.AppendInt(nil, int64(e), 10)
}

// DecodeControllerEpoch reads plain ASCII digits. The largest number is refused: no epoch could follow it.
func DecodeControllerEpoch(path string, data []byte) (cluster.ControllerEpoch, error) {
	n, err := strconv.ParseUint(string(data), 10, 31)
	if err != nil || n == math.MaxInt32 {
		return 0, corrupt(path, "want a number from 0 to 2147483646, got %.40q", data)
	}
	return cluster.ControllerEpoch(n), nil
}

// EncodeClusterID returns the content of /cluster/id. Its version is a string.
func EncodeClusterID(id string) []byte {
	return marshal(struct {
		Version string `json:"version"`
		ID      string `json:"id"`
	}{"1", id})
}

// DecodeClusterID reads the cluster's id.
func DecodeClusterID(path string, data []byte) (string, error) {
	var w struct {
		ID *string `json:"id"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return "", err
	}
	if w.ID == nil || *w.ID == "" {
		return "", missing(path, "id")
	}
	return *w.ID, nil
}

// EncodeBrokerSecret returns the content of /ottla/broker_secret.
func EncodeBrokerSecret(secret string) []byte {
	return marshal(struct {
		Version int32  `json:"version"`
		Secret  string `json:"secret"`
	}{1, secret})
}

// DecodeBrokerSecret reads the secret. An empty one, which everybody could guess, is an error.
func DecodeBrokerSecret(path string, data []byte) (string, error) {
	var w struct {
		Secret *string `json:"secret"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return "", err
	}
	if w.Secret == nil || *w.Secret == "" {
		return "", missing(path, "secret")
	}
	return *w.Secret, nil
}
