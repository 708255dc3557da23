package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/topicconfig"
)

// The configs of brokers that administer a cluster of several nodes, in the place of requests
// that Kafka's protocol does not have. Any node describes those of any other.
const (
	StateConfig     = "varve.state"     // "drained" drains a node, "serving" ends that
	FencedConfig    = "varve.fenced"    // why the cluster does not count on a node; "no": it does
	RolesConfig     = "varve.roles"     // as in the setting
	LevelsConfig    = "varve.levels"    // feature levels that it supports: "1-3"
	ListenersConfig = "varve.listeners" // as advertised.listeners
	AssignedConfig  = "varve.assigned"  // data journals that it is to lead
	LeadsConfig     = "varve.leads"     // journals that it is known to lead, 0 among them if it is the controller

	JournalsConfig = "varve.journals" // of the whole cluster, resource "": the number of data journals
	NodesConfig    = "varve.nodes"    // likewise: the nodes that are not removed

	// StatusConfig is the status of the node that is asked, as /status has it. It is only
	// described when it is named, and from this version of DescribeConfigs on: strings of
	// earlier ones may be too short for it.
	StatusConfig     = "varve.status"
	statusFromConfig = 4
)

// clusterConfigs are the configs of the resource that stands for all brokers.
func (m *Members) clusterConfigs() []config {
	ids := []string{}
	for _, n := range m.Nodes {
		if n.State != metadata.StateRemoved {
			ids = append(ids, strconv.Itoa(int(n.ID)))
		}
	}
	journals := config{
		name: JournalsConfig, value: strconv.FormatUint(uint64(m.Journals), 10), source: kmsg.ConfigSourceDynamicDefaultBrokerConfig,
		kind: topicconfig.Int, doc: "number of data journals; it can be raised, and never lowered",
	}
	journals.synonyms = []synonym{{journals.name, journals.value, journals.source}}
	return []config{
		journals,
		shown(NodesConfig, strings.Join(ids, ","), topicconfig.List, "broker ids of the nodes that are not removed"),
	}
}

// configs are those of one node.
func (n *Node) configs() []config {
	state := config{
		name: StateConfig, value: n.State.String(), source: kmsg.ConfigSourceDefaultConfig, kind: topicconfig.String,
		doc: "drained: the node is to lead no journals; set it to drain the node, set serving to end that",
	}
	if n.State == metadata.StateDrained {
		state.source = kmsg.ConfigSourceDynamicBrokerConfig
	}
	state.synonyms = []synonym{{state.name, state.value, state.source}}
	var listeners []string
	for _, l := range n.Run.Listeners {
		listeners = append(listeners, fmt.Sprintf("%s://%s:%d", l.Name, l.Host, l.Port))
	}
	return []config{
		state,
		shown(FencedConfig, n.Fence.String(), topicconfig.String, "why the cluster does not count on the node"),
		shown(RolesConfig, strings.Join(n.Run.Roles.Names(), ","), topicconfig.List, "roles of the node"),
		shown(LevelsConfig, fmt.Sprintf("%d-%d", n.Run.MinLevel, n.Run.MaxLevel), topicconfig.String, "feature levels that the node supports"),
		shown(ListenersConfig, strings.Join(listeners, ","), topicconfig.List, "addresses that the node registered"),
		shown(AssignedConfig, numbers(n.Assigned), topicconfig.List, "data journals that the node is to lead"),
		shown(LeadsConfig, numbers(n.Leads), topicconfig.List, "journals that the node is known to lead, 0 if it is the controller"),
	}
}

// shown is a config that only shows something.
func shown(name, value string, kind topicconfig.Type, doc string) config {
	return config{
		name: name, value: value, source: kmsg.ConfigSourceStaticBrokerConfig, kind: kind, doc: doc, readOnly: true,
		synonyms: []synonym{{name, value, kmsg.ConfigSourceStaticBrokerConfig}},
	}
}

func numbers(ids []uint32) string {
	var names []string
	for _, id := range ids {
		names = append(names, strconv.FormatUint(uint64(id), 10))
	}
	return strings.Join(names, ",")
}

// describeBroker returns the configs of this broker, or those that this one knows of another.
// The empty name stands for all brokers.
func (s *configService) describeBroker(r *listener.Request, q kmsg.DescribeConfigsRequestResource) ([]config, error) {
	if err := s.gate.cluster(r.Client, toDescribeConfigs); err != nil {
		return nil, err
	}
	members := s.members()
	if q.ResourceName == "" {
		if members == nil {
			return nil, nil
		}
		return members.clusterConfigs(), nil
	}
	id, err := strconv.ParseInt(q.ResourceName, 10, 32)
	self := err == nil && int32(id) == s.nodeID()
	var known *Node
	if err == nil && members != nil {
		known = members.node(int32(id))
	}
	var all []config
	switch {
	case self:
		all = brokerConfigs(s.brokerConfigs())
		if s.status != nil && r.Version >= statusFromConfig && slices.Contains(q.ConfigNames, StatusConfig) {
			all = append(all, shown(StatusConfig, s.status(), topicconfig.String, "status of the node, as JSON"))
		}
	case known == nil:
		return nil, coded(kerr.InvalidRequest, "this is broker %d, it cannot describe broker %q", s.nodeID(), q.ResourceName)
	}
	if known != nil {
		all = append(all, known.configs()...)
	}
	return all, nil
}

// alterBroker changes the configs of a broker, or of all for the empty name. Those that
// follow from how the node was started are refused, and the error says how to get another
// value. A deletion of such a config changes nothing: none is set at run time.
func (s *configService) alterBroker(ctx context.Context, by *listener.Client, a alteration, validateOnly bool) error {
	if err := s.gate.cluster(by, toAlterConfigs); err != nil {
		return err
	}
	id, err := strconv.ParseInt(a.name, 10, 32)
	members := s.members()
	known := int32(id) == s.nodeID() || members != nil && members.node(int32(id)) != nil
	switch {
	case a.name == "" || err == nil && known:
	case err == nil && members != nil:
		return coded(kerr.BrokerIDNotRegistered, "the cluster has no node %d; \"varve node list\" shows those that it has", id)
	default:
		return coded(kerr.InvalidRequest, "this is broker %d, it knows no broker %q", s.nodeID(), a.name)
	}
	var change func() error
	for _, op := range a.ops {
		switch {
		case op.Name == StateConfig && a.name != "":
			state, err := stateOf(op)
			if err != nil {
				return err
			}
			change = func() error { return s.admin.SetNode(ctx, int32(id), state, validateOnly) }
		case op.Name == JournalsConfig && a.name == "":
			journals, err := journalsOf(op)
			if err != nil {
				return err
			}
			change = func() error { return s.admin.GrowTo(ctx, journals, validateOnly) }
		case op.Kind == metadata.OpDelete:
		default:
			return s.fixedConfig(op.Name)
		}
	}
	if change == nil {
		return nil
	}
	return change()
}

// fixedConfig is the error of a config that cannot be altered.
func (s *configService) fixedConfig(name string) error {
	for _, c := range s.brokerConfigs() {
		if c.Name == name {
			return coded(kerr.InvalidRequest, "broker config %s cannot be changed while the node runs: %s", c.Name, c.Instead)
		}
	}
	switch name {
	case StateConfig:
		return coded(kerr.InvalidRequest, "%s is of one broker: name its id", name)
	case JournalsConfig:
		return coded(kerr.InvalidRequest, "%s is of the whole cluster: alter it for all brokers, by the empty name", name)
	case FencedConfig, RolesConfig, LevelsConfig, ListenersConfig, AssignedConfig, LeadsConfig, NodesConfig, StatusConfig:
		return coded(kerr.InvalidRequest, "broker config %s is only shown", name)
	}
	return coded(kerr.InvalidConfig, "unknown broker config %.100q", name)
}

// stateOf is the state that an alteration of StateConfig asks for.
func stateOf(op metadata.ConfigOp) (metadata.NodeState, error) {
	switch {
	case op.Kind == metadata.OpDelete, op.Kind == metadata.OpSet && op.Value == metadata.StateServing.String():
		return metadata.StateServing, nil
	case op.Kind == metadata.OpSet && op.Value == metadata.StateDrained.String():
		return metadata.StateDrained, nil
	case op.Kind == metadata.OpSet && op.Value == metadata.StateRemoved.String():
		return 0, coded(kerr.InvalidConfig, "a node is removed by UnregisterBroker, as \"varve node remove\" does")
	}
	return 0, coded(kerr.InvalidConfig, "set %s to drained or serving, not to %.100q", StateConfig, op.Value)
}

// journalsOf is the number of journals that an alteration of JournalsConfig asks for.
func journalsOf(op metadata.ConfigOp) (uint32, error) {
	n, err := strconv.ParseUint(op.Value, 10, 32)
	if op.Kind != metadata.OpSet || err != nil || n == 0 {
		return 0, coded(kerr.InvalidConfig, "set %s to the number of data journals, from 1 to %d; they never become fewer", JournalsConfig, metadata.MaxJournals)
	}
	return uint32(n), nil
}
