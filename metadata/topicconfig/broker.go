package topicconfig

import (
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
	AutoCreateTopics  bool
	Partitions        int32 // of a topic created without a count
	ReplicationFactor int16 // that is echoed for such a topic
	MaxRequestBytes   int32 // of one request frame
	OffsetsRetention  int32 // of committed group offsets, in minutes
}

// BrokerConfig is one line of a DescribeConfigs answer for a broker. All are
// read-only: they follow from how the node was started.
type BrokerConfig struct {
	Name      string
	Type      Type
	Value     string
	IsDefault bool // the value is Kafka's or, where the doc says so, varve's default
	Doc       string
}

// Broker is the table of broker configs of a node, by name. The ones that topic
// configs take their defaults from carry exactly those defaults.
func Broker(s BrokerSettings) []BrokerConfig {
	configs := nodeConfigs(s)
	for _, d := range table {
		// A topic config may share its name with its broker config; each broker
		// config is the default of one topic config only.
		if d.Broker != "" {
			configs = append(configs, BrokerConfig{d.Broker, d.Type, d.Default, true, d.Doc})
		}
	}
	slices.SortFunc(configs, func(a, b BrokerConfig) int { return strings.Compare(a.Name, b.Name) })
	return configs
}

func nodeConfigs(s BrokerSettings) []BrokerConfig {
	str := func(name, value, def, doc string) BrokerConfig {
		return BrokerConfig{name, String, value, value == def, doc}
	}
	integer := func(name string, value, def int64, doc string) BrokerConfig {
		return BrokerConfig{name, Int, strconv.FormatInt(value, 10), value == def, doc}
	}
	return []BrokerConfig{
		str("advertised.listeners", s.Advertised, "", "where clients reach this node"),
		{"auto.create.topics.enable", Boolean, strconv.FormatBool(s.AutoCreateTopics), s.AutoCreateTopics,
			"whether a topic is created when a client first asks for it"},
		integer("broker.id", int64(s.NodeID), -1, "this node's id, assigned by the metadata journal"),
		str("broker.rack", s.Rack, "", "this node's rack"),
		integer("default.replication.factor", int64(s.ReplicationFactor), 1,
			"replication factor echoed for topics created without one; the bucket replicates"),
		{"delete.topic.enable", Boolean, "true", true, "whether topics can be deleted"},
		str("listeners", s.Listeners, "PLAINTEXT://:9092", "where this node listens"),
		{"log.retention.hours", Int, "-1", true, "hours records are kept; log.retention.ms counts"},
		{"log.retention.minutes", Int, "-1", true, "minutes records are kept; log.retention.ms counts"},
		integer("node.id", int64(s.NodeID), -1, "this node's id, assigned by the metadata journal"),
		integer("num.partitions", int64(s.Partitions), 1, "partitions of topics created without a count"),
		integer("offsets.retention.minutes", int64(s.OffsetsRetention), 10080, "how long offsets of an empty group are kept"),
		integer("socket.request.max.bytes", int64(s.MaxRequestBytes), 104857600, "largest request taken"),
	}
}
