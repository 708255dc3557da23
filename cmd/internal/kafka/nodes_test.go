package kafka

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// lastNode is the id of a node that SetNode takes for the last one that serves.
const lastNode = 9

// SetNode changes a node in members.
func (c *cluster) SetNode(_ context.Context, id int32, state metadata.NodeState, validateOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.adminUp:
		return metadata.ErrNotController
	case c.members == nil:
		return metadata.ErrUnknownLevel
	case c.members.node(id) == nil:
		return fmt.Errorf("%w: %d", metadata.ErrUnknownNode, id)
	case id == lastNode:
		return metadata.ErrLastServing
	case !validateOnly:
		m := Members{Nodes: slices.Clone(c.members.Nodes), Journals: c.members.Journals}
		m.node(id).State = state
		c.members = &m
	}
	return nil
}

func (c *cluster) GrowTo(_ context.Context, journals uint32, validateOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.members == nil:
		return metadata.ErrUnknownLevel
	case journals < c.members.Journals:
		return metadata.ErrFewerJournals
	case !validateOnly:
		c.members = &Members{Nodes: c.members.Nodes, Journals: journals}
	}
	return nil
}

// three is a cluster of the node that is asked, a dead node and the last one that serves.
func three() (*cluster, Backend) {
	c := newCluster()
	c.members = &Members{Journals: 2, Nodes: []Node{
		{Node: metadata.Node{ID: testNode, State: metadata.StateServing, Run: metadata.Run{MinLevel: 1, MaxLevel: 3, Roles: metadata.RoleIngest,
			Listeners: []metadata.Listener{{Name: "A", Host: "h", Port: 9092}}}}, Assigned: []uint32{1}, Leads: []uint32{0, 1}},
		{Node: metadata.Node{ID: 8, State: metadata.StateDrained, Fence: metadata.FencedSilent}},
		{Node: metadata.Node{ID: lastNode, State: metadata.StateServing}},
		{Node: metadata.Node{ID: 10, State: metadata.StateRemoved}},
	}}
	b := c.backend()
	b.Members = func() *Members {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.members
	}
	b.Status = func() string { return `{"state":"ready"}` }
	return c, b
}

// described returns the configs of a broker that clients see, by name.
func described(t *testing.T, cl *client, version int16, broker string, names ...string) (map[string]kmsg.DescribeConfigsResponseResourceConfig, int16) {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = version
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: broker, ConfigNames: names}}
	resp := cl.ask(req).(*kmsg.DescribeConfigsResponse).Resources[0]
	all := map[string]kmsg.DescribeConfigsResponseResourceConfig{}
	for _, c := range resp.Configs {
		all[c.Name] = c
	}
	return all, resp.ErrorCode
}

func TestConfigsOfBrokersShowTheCluster(t *testing.T) {
	c, b := three()
	cl := start(t, c, Config{}, b).dial(t)
	self, code := described(t, cl, 4, "7")
	if code != 0 || *self[StateConfig].Value != "serving" || *self[LeadsConfig].Value != "0,1" || *self[AssignedConfig].Value != "1" ||
		*self[ListenersConfig].Value != "A://h:9092" || self[StateConfig].ReadOnly || !self[RolesConfig].ReadOnly || self["broker.id"].Value == nil {
		t.Errorf("code %d, %+v", code, self)
	}
	if _, all := self[StatusConfig]; all {
		t.Error("the status is described to a client that did not name it")
	}
	if named, _ := described(t, cl, 4, "7", StatusConfig); len(named) != 1 || *named[StatusConfig].Value != b.Status() {
		t.Errorf("status: %+v", named)
	}
	if early, code := described(t, cl, 3, "7", StatusConfig); code != 0 || len(early) != 0 {
		t.Errorf("status in a short string: %+v", early)
	}
	other, code := described(t, cl, 4, "8")
	if code != 0 || *other[StateConfig].Value != "drained" || other[StateConfig].Source != kmsg.ConfigSourceDynamicBrokerConfig ||
		*other[FencedConfig].Value != "silent" || other["broker.id"].Value != nil {
		t.Errorf("code %d, %+v", code, other)
	}
	for _, gone := range []string{"10", "11", "x"} {
		if _, code := described(t, cl, 4, gone); code != kerr.InvalidRequest.Code {
			t.Errorf("broker %s: code %d", gone, code)
		}
	}
	whole, code := described(t, cl, 4, "")
	if code != 0 || *whole[JournalsConfig].Value != "2" || *whole[NodesConfig].Value != "7,8,9" || len(whole) != 2 {
		t.Errorf("code %d, %+v", code, whole)
	}
	c.change(func() { c.members = nil })
	if whole, code := described(t, cl, 4, ""); code != 0 || len(whole) != 0 {
		t.Errorf("one node alone: code %d, %+v", code, whole)
	}
	if self, _ := described(t, cl, 4, "7"); self[StateConfig].Value != nil {
		t.Error("one node alone has a state")
	}
}

func TestNodesAreDrainedByAConfig(t *testing.T) {
	c, b := three()
	cl := start(t, c, Config{}, b).dial(t)
	alter := func(broker string, check bool, ops ...kmsg.IncrementalAlterConfigsRequestResourceConfig) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Version, req.ValidateOnly = 1, check
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: broker, Configs: ops}}
		return cl.ask(req).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	}
	set := func(name, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
		return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Value: &value}
	}
	unset := func(name string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
		return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Op: kmsg.IncrementalAlterConfigOpDelete}
	}
	state := func() metadata.NodeState { return b.Members().node(8).State }
	if code := alter("8", false, set(StateConfig, "serving")); code != 0 || state() != metadata.StateServing {
		t.Errorf("undrain: code %d, %v", code, state())
	}
	if code := alter("8", true, set(StateConfig, "drained")); code != 0 || state() != metadata.StateServing {
		t.Errorf("check: code %d, %v", code, state())
	}
	if code := alter("8", false, set("num.partitions", "3"), set(StateConfig, "drained")); code != kerr.InvalidRequest.Code || state() != metadata.StateServing {
		t.Errorf("with another config: code %d, %v", code, state())
	}
	if code := alter("8", false, set(StateConfig, "drained")); code != 0 || state() != metadata.StateDrained {
		t.Errorf("drain: code %d, %v", code, state())
	}
	if code := alter("8", false, unset(StateConfig), unset("num.partitions")); code != 0 || state() != metadata.StateServing {
		t.Errorf("back to the default: code %d, %v", code, state())
	}
	if code := alter("", false, set(JournalsConfig, "4")); code != 0 || b.Members().Journals != 4 {
		t.Errorf("journals: code %d", code)
	}
	appended := set(StateConfig, "drained")
	appended.Op = kmsg.IncrementalAlterConfigOpAppend
	for name, tc := range map[string]struct {
		broker string
		op     kmsg.IncrementalAlterConfigsRequestResourceConfig
		want   *kerr.Error
	}{
		"the last one":          {"9", set(StateConfig, "drained"), kerr.PolicyViolation},
		"an unknown state":      {"8", set(StateConfig, "asleep"), kerr.InvalidConfig},
		"removed":               {"8", set(StateConfig, "removed"), kerr.InvalidConfig},
		"appended":              {"8", appended, kerr.InvalidConfig},
		"a removed node":        {"10", set(StateConfig, "serving"), kerr.BrokerIDNotRegistered},
		"no number of a node":   {"x", set(StateConfig, "serving"), kerr.InvalidRequest},
		"all nodes":             {"", set(StateConfig, "drained"), kerr.InvalidRequest},
		"roles":                 {"8", set(RolesConfig, "fetch"), kerr.InvalidRequest},
		"fewer journals":        {"", set(JournalsConfig, "3"), kerr.InvalidConfig},
		"no number of journals": {"", set(JournalsConfig, "many"), kerr.InvalidConfig},
		"no journals":           {"", set(JournalsConfig, "0"), kerr.InvalidConfig},
		"journals by default":   {"", unset(JournalsConfig), kerr.InvalidConfig},
		"journals of a node":    {"8", set(JournalsConfig, "5"), kerr.InvalidRequest},
		"unknown":               {"8", set("varve.unknown", "1"), kerr.InvalidConfig},
	} {
		if code := alter(tc.broker, false, tc.op); code != tc.want.Code {
			t.Errorf("%s: code %d, want %s", name, code, tc.want.Message)
		}
	}
}

func TestNodesAreRemovedByUnregisterBroker(t *testing.T) {
	c, b := three()
	allowed := true
	cl := startGuarded(t, c, Config{}, b, allowFunc(func(_ *listener.Client, op operation, on aclResource) bool {
		return allowed || op != toAlter || on != theCluster
	})).dial(t)
	remove := func(id int32) int16 {
		return cl.ask(&kmsg.UnregisterBrokerRequest{BrokerID: id}).(*kmsg.UnregisterBrokerResponse).ErrorCode
	}
	if code := remove(lastNode); code != kerr.PolicyViolation.Code {
		t.Errorf("the last one: code %d", code)
	}
	allowed = false
	if code := remove(8); code != kerr.ClusterAuthorizationFailed.Code || b.Members().node(8) == nil {
		t.Errorf("without leave: code %d", code)
	}
	allowed = true
	if code := remove(8); code != 0 || b.Members().node(8) != nil {
		t.Errorf("code %d", code)
	}
	if code := remove(8); code != kerr.BrokerIDNotRegistered.Code {
		t.Errorf("again: code %d", code)
	}
}
