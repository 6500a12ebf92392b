package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/kerr"
)

// Operation is what happens to a dynamic setting (KIP-339).
type Operation int8

// The operations.
const (
	// Set gives the setting a value.
	Set Operation = iota + 1
	// Delete takes the setting away; one that is not there stays away.
	Delete
	// Append adds elements to a list.
	Append
	// Subtract takes elements out of a list.
	Subtract
)

// Change is the change of one dynamic setting.
type Change struct {
	// Name of the setting.
	Name string
	// Operation is what happens to it.
	Operation Operation
	// Value to set, or the elements to add or take out; it does not count for [Delete].
	Value string
}

// AlterTopic returns the overrides of a topic after some changes. If any is invalid it returns a [*kerr.Error] with INVALID_CONFIG and Kafka's text
// instead. The given overrides stay as they are.
func (s *Server) AlterTopic(topic string, overrides map[string]string, changes []Change) (map[string]string, error) {
	after, err := applyChanges(topicKeys, overrides, changes)
	if err != nil {
		return nil, err
	}
	for _, name := range Properties(after).names() {
		if topicKeys.byName[name] == nil {
			return nil, kerr.InvalidConfig.With("Unknown topic config name: " + name)
		}
	}
	for _, name := range Properties(after).names() {
		if _, err := topicKeys.byName[name].parse(after[name]); err != nil {
			return nil, kerr.InvalidConfig.With(fmt.Sprintf("Invalid config value for resource ConfigResource(type=TOPIC, name='%s'): %s", topic, err))
		}
	}
	return after, s.ValidateTopic(after)
}

// AlterBroker returns the dynamic settings of this broker after some changes, given those of this broker and of all. If any change is
// invalid, or the settings do not fit together afterwards, it returns a [*kerr.Error] with Kafka's code and text instead. What is there
// already and does not change is not judged: other programs may understand it.
func (s *Server) AlterBroker(own, all map[string]string, changes []Change) (map[string]string, error) {
	after, err := AlterOffline(own, changes, DynamicBroker)
	if err != nil {
		return nil, err
	}
	return after, s.judge(after, all)
}

// AlterBrokerDefaults is [Server.AlterBroker] for the dynamic settings that all brokers share. Whether they fit together is judged for this broker.
func (s *Server) AlterBrokerDefaults(own, all map[string]string, changes []Change) (map[string]string, error) {
	after, err := AlterOffline(all, changes, DynamicDefaultBroker)
	if err != nil {
		return nil, err
	}
	return after, s.judge(own, after)
}

// AlterOffline makes changes to dynamic settings of brokers in one place, [DynamicBroker] or [DynamicDefaultBroker], if each is possible there
// (DynamicBrokerConfig.validate). How the settings fit together is for the broker to judge: this is for a tool that writes to ZooKeeper while the
// broker is down.
func AlterOffline(current map[string]string, changes []Change, place Source) (map[string]string, error) {
	after, err := applyChanges(brokerKeys, current, changes)
	if err != nil {
		return nil, err
	}
	var static, security, perBroker []string
	for _, c := range changes {
		k := brokerKeys.byName[c.Name]
		switch {
		case c.Operation == Delete:
		case k == nil:
			static = append(static, c.Name)
		case k.changeable():
		case k.Update == PerBroker && (strings.HasPrefix(k.Name, "ssl.") || strings.HasPrefix(k.Name, "sasl.")):
			security = append(security, c.Name)
		case k.Update == PerBroker && place == DynamicDefaultBroker:
			perBroker = append(perBroker, c.Name)
		default:
			static = append(static, c.Name)
		}
	}
	for _, refused := range []struct {
		names []string
		text  string
	}{
		{static, "Cannot update these configs dynamically"},
		{security, "These security configs can be dynamically updated only per-listener using the listener prefix"},
		{perBroker, "Cannot update these configs at default cluster level, broker id must be specified"},
	} {
		if len(refused.names) > 0 {
			slices.Sort(refused.names)
			return nil, kerr.InvalidRequest.With(fmt.Sprintf("%s: Set(%s)", refused.text, strings.Join(refused.names, ", ")))
		}
	}
	for _, c := range changes {
		if c.Operation == Delete {
			continue
		}
		if _, err := brokerKeys.byName[c.Name].parse(after[c.Name]); err != nil {
			return nil, kerr.InvalidRequest.With(err.Error())
		}
	}
	return after, nil
}

// applyChanges makes changes to the texts of settings. Values are not judged.
func applyChanges(keys *keySet, current map[string]string, changes []Change) (map[string]string, error) {
	after := make(map[string]string, len(current)+len(changes))
	maps.Copy(after, current)
	for _, c := range changes {
		k := keys.byName[c.Name]
		switch {
		case c.Operation == Delete:
			delete(after, c.Name)
		case c.Operation == Set || k == nil:
			after[c.Name] = c.Value
		case k.Type != List:
			verb := map[Operation]string{Append: "append", Subtract: "subtract"}[c.Operation]
			return nil, kerr.InvalidConfig.With(fmt.Sprintf("Config value %s is not allowed for config key: %s", verb, c.Name))
		default:
			text, ok := after[c.Name]
			if !ok {
				text = k.fallback().text()
			}
			after[c.Name] = strings.Join(changeList(splitList(text), splitList(c.Value), c.Operation), ",")
		}
	}
	return after, nil
}

// changeList adds elements to a list that are not in it, or takes elements out.
func changeList(list, items []string, op Operation) []string {
	if op == Subtract {
		return slices.DeleteFunc(list, func(item string) bool { return slices.Contains(items, item) })
	}
	for _, item := range items {
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list
}

// threadKeys are settings that Kafka changes only in small steps (DynamicThreadPool).
var threadKeys = []string{"background.threads", "num.io.threads", "num.network.threads", "num.recovery.threads.per.data.dir", "num.replica.fetchers"}

// judge returns why the dynamic settings cannot be put in place of the present ones.
func (s *Server) judge(own, all map[string]string) error {
	next, _ := s.layers(own, all)
	if err := next.crossCheck(); err != nil {
		return kerr.InvalidRequest.With(err.Error())
	}
	refuse := func(format string, args ...any) error { return kerr.InvalidRequest.With(fmt.Sprintf(format, args...)) }
	for _, name := range threadKeys {
		now, then := s.Int(name), next.Int(name)
		const failed = "Dynamic thread count update validation failed for "
		switch {
		case now == then:
		case then <= 0:
			return refuse(failed+"%s=%d, value should be at least 1", name, then)
		case then < now/2:
			return refuse(failed+"%s=%d, value should be at least half the current value %d", name, then, now)
		case then > now*2:
			return refuse(failed+"%s=%d, value should not be greater than double the current value %d", name, then, now)
		}
	}
	now, then := s.Int("log.cleaner.threads"), next.Int("log.cleaner.threads")
	switch {
	case now == then:
	case then < 1:
		return refuse("Log cleaner threads should be at least 1")
	case then < now/2:
		return refuse("Log cleaner threads cannot be reduced to less than half the current value %d", now)
	case then > now*2:
		return refuse("Log cleaner threads cannot be increased to more than double the current value %d", now)
	}
	return nil
}
