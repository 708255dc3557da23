package topicconfig

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// BrokerSettings are the settings of a node that its broker configs show.
type BrokerSettings struct {
	NodeID            int32
	Rack              string
	Listeners         string // as Kafka writes them: PLAINTEXT://127.0.0.1:9092
	Advertised        string // likewise
	InterBroker       string // name of the listener that other nodes use
	AutoCreateTopics  bool
	Partitions        int32  // of a topic created without a count
	ReplicationFactor int16  // returned for such a topic
	MaxRequestBytes   int32  // of one request frame
	OffsetsRetention  int32  // of committed group offsets, in minutes
	FetchSessions     int32  // kept at once
	Store             string // where the records are
}

// BrokerConfig is one line of a DescribeConfigs answer for a broker. All are
// read-only: they follow from the settings with which the node was started.
type BrokerConfig struct {
	Name      string
	Type      Type
	Value     string
	IsDefault bool // the value is Kafka's or, where the doc says so, varve's default
	Doc       string
	Instead   string // how to get another value
}

// Broker returns the table of broker configs of a node, by name. Those that are
// the defaults of topic configs have exactly the values of these defaults.
func Broker(s BrokerSettings) []BrokerConfig {
	configs := nodeConfigs(s)
	for _, d := range table {
		// A topic config may share its name with its broker config; each broker
		// config is the default of one topic config only.
		if d.Broker != "" {
			configs = append(configs, BrokerConfig{d.Broker, d.Type, d.Default, true, d.Doc,
				fmt.Sprintf("it is the default of the topic config %s, which is the same on every node; set that on the topics", d.Name)})
		}
	}
	slices.SortFunc(configs, func(a, b BrokerConfig) int { return strings.Compare(a.Name, b.Name) })
	return configs
}

const fixed = "it has this value on every node"

// restart returns the advice to start a node with another value.
func restart(flag string) string { return "start it again with another --" + flag }

func nodeConfigs(s BrokerSettings) []BrokerConfig {
	str := func(name, value, def, doc, instead string) BrokerConfig {
		return BrokerConfig{name, String, value, value == def, doc, instead}
	}
	integer := func(name string, value, def int64, doc, instead string) BrokerConfig {
		return BrokerConfig{name, Int, strconv.FormatInt(value, 10), value == def, doc, instead}
	}
	const assigned = "the metadata journal assigns ids, forever"
	return []BrokerConfig{
		str("advertised.listeners", s.Advertised, "", "where clients reach this node", restart("advertise")),
		{"auto.create.topics.enable", Boolean, strconv.FormatBool(s.AutoCreateTopics), s.AutoCreateTopics,
			"whether a topic is created when a client first asks for it", restart("auto-create-topics")},
		integer("broker.id", int64(s.NodeID), -1, "this node's id, assigned by the metadata journal", assigned),
		str("broker.rack", s.Rack, "", "this node's rack", restart("rack")),
		integer("default.replication.factor", int64(s.ReplicationFactor), 1,
			"replication factor echoed for topics created without one; the bucket replicates", fixed),
		{"delete.topic.enable", Boolean, "true", true, "whether topics can be deleted", fixed},
		str("listeners", s.Listeners, "PLAINTEXT://:9092", "where this node listens", restart("listen")),
		str("log.dirs", s.Store, "", "the bucket, which all nodes share", "the bucket is chosen once, with --bucket"),
		{"log.retention.hours", Int, "-1", true, "hours records are kept; log.retention.ms counts", "set retention.ms on the topics"},
		{"log.retention.minutes", Int, "-1", true, "minutes records are kept; log.retention.ms counts", "set retention.ms on the topics"},
		str("inter.broker.listener.name", s.InterBroker, "", "the listener that other nodes connect to", restart("inter-broker-listener")),
		integer("max.incremental.fetch.session.cache.slots", int64(s.FetchSessions), 1000, "fetch sessions kept at once", restart("fetch-sessions")),
		integer("node.id", int64(s.NodeID), -1, "this node's id, assigned by the metadata journal", assigned),
		integer("num.partitions", int64(s.Partitions), 1, "partitions of topics created without a count", restart("default-partitions")),
		integer("offsets.retention.minutes", int64(s.OffsetsRetention), 10080, "how long offsets of an empty group are kept", restart("offsets-retention")),
		{"process.roles", List, "broker,controller", false, "roles of this node, in Kafka's words", restart("roles")},
		integer("socket.request.max.bytes", int64(s.MaxRequestBytes), 104857600, "largest request taken", fixed),
	}
}
