package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka"
)

// askAny sends a request to any broker that answers. The client itself would send one about a
// broker to that broker, which may be dead.
func askAny(ctx context.Context, client *kgo.Client, req kmsg.Request) (kmsg.Response, error) {
	var errs []error
	for _, b := range append(client.DiscoveredBrokers(), client.SeedBrokers()...) {
		resp, err := b.RetriableRequest(ctx, req)
		if err == nil {
			return resp, nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// brokerConfigs reads configs of brokers, by the names of both. The empty name of a broker
// stands for all.
func brokerConfigs(resp kmsg.Response, err error) (map[string]map[string]string, error) {
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]string{}
	for _, r := range resp.(*kmsg.DescribeConfigsResponse).Resources {
		if err := withText(r.ErrorCode, r.ErrorMessage); err != nil {
			return nil, fmt.Errorf("describe broker %q: %w", r.ResourceName, err)
		}
		configs := map[string]string{}
		for _, c := range r.Configs {
			if c.Value != nil {
				configs[c.Name] = *c.Value
			}
		}
		all[r.ResourceName] = configs
	}
	return all, nil
}

// describeBrokers is a request for configs of brokers, by name.
func describeBrokers(configs []string, brokers ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, b := range brokers {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, b, configs
		req.Resources = append(req.Resources, r)
	}
	return req
}

// alterBroker sets one config of a broker, or of all for the empty name.
func alterBroker(ctx context.Context, client *kgo.Client, broker, config, value string, dry bool) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = dry
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, broker
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value, c.Op = config, &value, kmsg.IncrementalAlterConfigOpSet
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := askAny(ctx, client, req)
	if err != nil {
		return err
	}
	for _, r := range resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
		if err := withText(r.ErrorCode, r.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

// brokerNode is a node of a cluster, as -o json prints it.
type brokerNode struct {
	ID         int32    `json:"id"`    // broker id
	State      string   `json:"state"` // "serving", "leaving", "drained", "registered"; "" below the feature level of several nodes
	Fenced     string   `json:"fenced,omitempty"`
	Controller bool     `json:"controller"`
	Roles      []string `json:"roles"`
	Rack       string   `json:"rack,omitempty"`
	Kafka      string   `json:"kafka"` // host:port
	Leads      []uint32 `json:"leads"` // data journals
	Assigned   []uint32 `json:"assigned"`
	Levels     string   `json:"feature_levels,omitempty"` // that it supports
}

// left lists the journals that a node leads or is to lead, 0 if it is the controller.
func (n *brokerNode) left() []uint32 {
	all := slices.Concat(n.Leads, n.Assigned)
	if n.Controller {
		all = append(all, 0)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const (
	listTries = 10
	listPause = 200 * time.Millisecond
)

// readNodes lists the nodes that are not removed. Below the level of several nodes it knows
// their addresses only, and several is false. It looks again if a node was removed, or was not
// known to the next broker, while it looked.
func readNodes(ctx context.Context, client *kgo.Client) (nodes []brokerNode, several bool, err error) {
	for try := range listTries {
		if try > 0 {
			select {
			case <-time.After(listPause):
			case <-ctx.Done():
			}
		}
		nodes, several, err = listNodes(ctx, client)
		if !errors.Is(err, kerr.InvalidRequest) || ctx.Err() != nil {
			break
		}
	}
	return nodes, several, err
}

// listNodes is one look of readNodes.
func listNodes(ctx context.Context, client *kgo.Client) (nodes []brokerNode, several bool, err error) {
	whole, err := brokerConfigs(askAny(ctx, client, describeBrokers([]string{kafka.NodesConfig}, "")))
	if err != nil {
		return nil, false, fmt.Errorf("list nodes: %w", err)
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeFencedBrokers = true
	answer, err := askAny(ctx, client, req)
	if err != nil {
		return nil, false, fmt.Errorf("list nodes: %w", err)
	}
	resp := answer.(*kmsg.DescribeClusterResponse)
	if err := withText(resp.ErrorCode, resp.ErrorMessage); err != nil {
		return nil, false, fmt.Errorf("list nodes: %w", err)
	}
	ids, several := whole[""][kafka.NodesConfig]
	if !several {
		for _, b := range resp.Brokers {
			n := brokerNode{ID: b.NodeID, Controller: b.NodeID == resp.ControllerID, Roles: []string{}, Leads: []uint32{}, Assigned: []uint32{}}
			n.locate(resp)
			nodes = append(nodes, n)
		}
		return nodes, false, nil
	}
	if ids == "" {
		return nil, true, nil
	}
	names := strings.Split(ids, ",")
	described, err := brokerConfigs(askAny(ctx, client, describeBrokers(nodeConfigNames, names...)))
	if err != nil {
		return nil, true, fmt.Errorf("list nodes: %w", err)
	}
	for _, name := range names {
		n, err := nodeOf(name, described[name])
		if err != nil {
			return nil, true, fmt.Errorf("list nodes: %w", err)
		}
		n.locate(resp)
		nodes = append(nodes, n)
	}
	return nodes, true, nil
}

var nodeConfigNames = []string{
	kafka.StateConfig, kafka.FencedConfig, kafka.RolesConfig, kafka.LevelsConfig, kafka.ListenersConfig, kafka.AssignedConfig, kafka.LeadsConfig,
}

// nodeOf reads a node from its configs.
func nodeOf(name string, configs map[string]string) (n brokerNode, err error) {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return n, fmt.Errorf("the broker names a node %q", name)
	}
	n = brokerNode{
		ID: int32(id), State: configs[kafka.StateConfig], Fenced: configs[kafka.FencedConfig], Roles: split(configs[kafka.RolesConfig]),
		Levels: configs[kafka.LevelsConfig], Leads: []uint32{}, Assigned: numbersOf(configs[kafka.AssignedConfig]),
	}
	for _, journal := range numbersOf(configs[kafka.LeadsConfig]) {
		if journal == 0 {
			n.Controller = true
			continue
		}
		n.Leads = append(n.Leads, journal)
	}
	if first := split(configs[kafka.ListenersConfig]); len(first) > 0 {
		_, n.Kafka, _ = strings.Cut(first[0], "://")
	}
	return n, nil
}

// locate completes the address and rack of a node, as clients of this listener see them.
func (n *brokerNode) locate(resp *kmsg.DescribeClusterResponse) {
	for _, b := range resp.Brokers {
		if b.NodeID != n.ID {
			continue
		}
		n.Kafka = fmt.Sprintf("%s:%d", b.Host, b.Port)
		if b.Rack != nil {
			n.Rack = *b.Rack
		}
	}
}

func split(list string) []string {
	if list == "" {
		return []string{}
	}
	return strings.Split(list, ",")
}

func numbersOf(list string) []uint32 {
	all := []uint32{}
	for _, word := range split(list) {
		if n, err := strconv.ParseUint(word, 10, 32); err == nil {
			all = append(all, uint32(n))
		}
	}
	return all
}

// ranges writes ascending numbers as people do: 1-3, 7.
func ranges(all []uint32) string {
	var parts []string
	for i := 0; i < len(all); {
		j := i
		for j+1 < len(all) && all[j+1] == all[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, strconv.FormatUint(uint64(all[i]), 10))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", all[i], all[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// removeBroker removes a node for good.
func removeBroker(ctx context.Context, client *kgo.Client, id int32) error {
	resp, err := askAny(ctx, client, &kmsg.UnregisterBrokerRequest{BrokerID: id})
	if err != nil {
		return err
	}
	r := resp.(*kmsg.UnregisterBrokerResponse)
	return withText(r.ErrorCode, r.ErrorMessage)
}

// notRegistered reports whether a node was removed before, or never there.
func notRegistered(err error) bool { return errors.Is(err, kerr.BrokerIDNotRegistered) }
