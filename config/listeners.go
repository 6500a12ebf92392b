package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// endPoint is the form of one listener: a name, ://, a host that may be empty or in brackets, a port.
var endPoint = regexp.MustCompile(`^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)$`)

// parseListeners reads the listener settings (KafkaConfig.listeners, CoreUtils.listenerListToEndPoints).
func (s *Server) parseListeners() error {
	var err error
	if s.security, err = parseProtocolMap(s.String("listener.security.protocol.map")); err != nil {
		return err
	}
	if s.listeners, err = parseEndpoints(s.String("listeners"), s.security, true); err != nil {
		return err
	}
	if len(s.listeners) == 0 {
		return &Error{Key: "listeners", Text: "requirement failed: At least one listener must be defined in listeners"}
	}
	s.advertised = s.listeners
	if !s.IsNull("advertised.listeners") {
		if s.advertised, err = parseEndpoints(s.String("advertised.listeners"), s.security, false); err != nil {
			return err
		}
	}
	s.inter = strings.ToUpper(s.String("inter.broker.listener.name"))
	if s.IsNull("inter.broker.listener.name") {
		s.inter = s.String("security.inter.broker.protocol")
	}
	return nil
}

// parseProtocolMap reads listener.security.protocol.map: NAME:PROTOCOL separated by commas.
func parseProtocolMap(text string) (map[string]string, error) {
	bad := func(why string) error {
		return &Error{Key: "listener.security.protocol.map", Text: fmt.Sprintf("Invalid value %s for configuration listener.security.protocol.map: %s", text, why)}
	}
	m := map[string]string{}
	for _, item := range splitList(text) {
		name, protocol, ok := strings.Cut(item, ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		switch {
		case !ok || name == "":
			return nil, bad(fmt.Sprintf("Expected NAME:PROTOCOL, found %q", item))
		case oneOf("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")(value{typ: String, s: protocol}) != "":
			return nil, bad(fmt.Sprintf("No security protocol named %s", protocol))
		case m[name] != "":
			return nil, bad(fmt.Sprintf("The listener %s comes twice", name))
		}
		m[name] = protocol
	}
	return m, nil
}

// parseEndpoints reads a list of listeners. Names have to be different, and ports too if distinctPorts is true, except that one port may serve
// one IPv4 and one IPv6 address (KAFKA-13719).
func parseEndpoints(text string, protocols map[string]string, distinctPorts bool) ([]cluster.Endpoint, error) {
	fail := func(why string) error {
		return &Error{Text: fmt.Sprintf("Error creating broker listeners from '%s': %s", text, why)}
	}
	var list []cluster.Endpoint
	names, ports := map[string]bool{}, map[int32][]cluster.Endpoint{}
	for _, item := range splitList(text) {
		if item == "" {
			continue
		}
		m := endPoint.FindStringSubmatch(item)
		if m == nil {
			return nil, fail(fmt.Sprintf("Unable to parse %s to a broker endpoint", item))
		}
		port, err := strconv.ParseInt(m[3], 10, 32)
		if err != nil || port < -1 || port > 65535 {
			return nil, fail(fmt.Sprintf("Unable to parse %s to a broker endpoint: the port is out of range", item))
		}
		name := strings.ToUpper(m[1])
		protocol, ok := protocols[name]
		if !ok {
			return nil, fail("No security protocol defined for listener " + name)
		}
		e := cluster.Endpoint{Listener: name, SecurityProtocol: protocol, Host: m[2], Port: int32(port)}
		if names[name] {
			return nil, fail("Each listener must have a different name, listeners: " + text)
		}
		names[name] = true
		if distinctPorts && port > 0 {
			for _, other := range ports[e.Port] {
				if len(ports[e.Port]) > 1 || !oneOfEachFamily(other.Host, e.Host) {
					return nil, fail("Each listener must have a different port, listeners: " + text)
				}
			}
			ports[e.Port] = append(ports[e.Port], e)
		}
		list = append(list, e)
	}
	return list, nil
}

// oneOfEachFamily reports whether one host is an IPv4 address and the other an IPv6 address.
func oneOfEachFamily(a, b string) bool {
	v4 := func(h string) bool { return ipv4.MatchString(h) }
	v6 := func(h string) bool { return strings.Contains(h, ":") }
	return v4(a) && v6(b) || v6(a) && v4(b)
}

// ipv4 is the form of an IPv4 address.
var ipv4 = regexp.MustCompile(`^\d{1,3}(\.\d{1,3}){3}$`)
