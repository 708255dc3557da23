package cli_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/kafka"
)

// several is a cluster of nodes behind one broker, which is node 1.
type several struct {
	mu       sync.Mutex
	journals string
	nodes    map[string]map[string]string // configs by node; nil: a cluster of one node
	looks    int                          // at nodes
	onLook   func(looks int)              // may change nodes
	failures int                          // requests that are answered with an unknown outcome
	status   string                       // of node 1
	removed  int                          // answers that still name node 3, which is removed
}

// newSeveral starts a cluster of node 1, which leads journal 1 and is the controller, and of
// node 2, which leads journal 2 and 3.
func newSeveral(t *testing.T) (*several, command) {
	t.Helper()
	s := &several{journals: "3", nodes: map[string]map[string]string{
		"1": {kafka.StateConfig: "serving", kafka.FencedConfig: "no", kafka.RolesConfig: "ingest,fetch", kafka.LevelsConfig: "1-3", kafka.LeadsConfig: "0,1", kafka.AssignedConfig: "1"},
		"2": {kafka.StateConfig: "serving", kafka.FencedConfig: "silent", kafka.RolesConfig: "ingest", kafka.LevelsConfig: "1-3", kafka.ListenersConfig: "A://h:9", kafka.LeadsConfig: "2,3", kafka.AssignedConfig: "2,3"},
	}}
	cluster, c := control(t)
	addr := cluster.ListenAddrs()[0]
	host, port, _ := strings.Cut(addr, ":")
	answer := func(key kmsg.Key, f func(req kmsg.Request, resp kmsg.Response)) {
		cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			s.mu.Lock()
			defer s.mu.Unlock()
			resp := req.ResponseKind()
			f(req, resp)
			return resp, nil, true
		})
	}
	answer(kmsg.ApiVersions, func(_ kmsg.Request, resp kmsg.Response) {
		for _, k := range []int16{3, 18, 32, 44, 57, 60, 64} {
			r := resp.(*kmsg.ApiVersionsResponse)
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: kmsg.RequestForKey(k).MaxVersion()})
			r.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{Name: kafka.LevelFeature, MinVersion: 1, MaxVersion: 3}}
			r.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{{Name: kafka.LevelFeature, MaxVersionLevel: 2}}
		}
	})
	answer(kmsg.DescribeCluster, func(_ kmsg.Request, resp kmsg.Response) {
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Host = 1, host
		fmt.Sscan(port, &b.Port)
		b.Rack = kmsg.StringPtr("north")
		resp.(*kmsg.DescribeClusterResponse).ControllerID = 1
		resp.(*kmsg.DescribeClusterResponse).Brokers = []kmsg.DescribeClusterResponseBroker{b}
	})
	answer(kmsg.DescribeConfigs, func(req kmsg.Request, resp kmsg.Response) {
		s.describe(req.(*kmsg.DescribeConfigsRequest), resp.(*kmsg.DescribeConfigsResponse))
	})
	answer(kmsg.IncrementalAlterConfigs, func(req kmsg.Request, resp kmsg.Response) {
		s.alter(req.(*kmsg.IncrementalAlterConfigsRequest), resp.(*kmsg.IncrementalAlterConfigsResponse))
	})
	answer(kmsg.UnregisterBroker, func(req kmsg.Request, resp kmsg.Response) {
		name, r := fmt.Sprint(req.(*kmsg.UnregisterBrokerRequest).BrokerID), resp.(*kmsg.UnregisterBrokerResponse)
		switch n := s.nodes[name]; {
		case n == nil:
			r.ErrorCode = kerr.BrokerIDNotRegistered.Code
		case n[kafka.StateConfig] != "drained":
			r.ErrorCode, r.ErrorMessage = kerr.PolicyViolation.Code, kmsg.StringPtr("the node is in use: node "+name+" still has journal 2")
		default:
			delete(s.nodes, name)
			if s.failures > 0 {
				s.failures--
				r.ErrorCode = kerr.RequestTimedOut.Code
			}
		}
	})
	return s, c
}

func (s *several) describe(req *kmsg.DescribeConfigsRequest, resp *kmsg.DescribeConfigsResponse) {
	for _, q := range req.Resources {
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = q.ResourceType, q.ResourceName
		var ids []string
		for id := range s.nodes {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		configs := s.nodes[q.ResourceName]
		if s.removed > 0 && q.ResourceName == "" {
			s.removed--
			ids = append(ids, "3")
		}
		switch {
		case q.ResourceName == "3":
			r.ErrorCode, r.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr("this is broker 1, it cannot describe broker 3")
		case q.ResourceName == "" && s.nodes != nil:
			configs = map[string]string{kafka.NodesConfig: strings.Join(ids, ","), kafka.JournalsConfig: s.journals}
		case slices.Contains(q.ConfigNames, kafka.StatusConfig):
			configs = map[string]string{kafka.StatusConfig: s.status}
		case slices.Contains(q.ConfigNames, kafka.StateConfig) && q.ResourceName == ids[len(ids)-1]:
			if s.looks++; s.onLook != nil {
				s.onLook(s.looks)
			}
		}
		for name, value := range configs {
			if slices.Contains(q.ConfigNames, name) {
				r.Configs = append(r.Configs, kmsg.DescribeConfigsResponseResourceConfig{Name: name, Value: kmsg.StringPtr(value)})
			}
		}
		resp.Resources = append(resp.Resources, r)
	}
}

func (s *several) alter(req *kmsg.IncrementalAlterConfigsRequest, resp *kmsg.IncrementalAlterConfigsResponse) {
	q := req.Resources[0]
	r := kmsg.NewIncrementalAlterConfigsResponseResource()
	r.ResourceType, r.ResourceName = q.ResourceType, q.ResourceName
	switch n := s.nodes[q.ResourceName]; {
	case s.failures > 0:
		s.failures--
		r.ErrorCode = kerr.NotController.Code
	case q.ResourceName == "" && !req.ValidateOnly:
		s.journals = *q.Configs[0].Value
	case q.ResourceName == "":
	case n == nil:
		r.ErrorCode, r.ErrorMessage = kerr.BrokerIDNotRegistered.Code, kmsg.StringPtr("the cluster has no node "+q.ResourceName)
	case q.ResourceName == "1":
		r.ErrorCode, r.ErrorMessage = kerr.PolicyViolation.Code, kmsg.StringPtr("it is the last ingest node that serves")
	default:
		n[q.Configs[0].Name] = *q.Configs[0].Value
	}
	resp.Resources = append(resp.Resources, r)
}

func TestNodesAreListed(t *testing.T) {
	s, c := newSeveral(t)
	o := c.run(t, "node", "list")
	o.expect(t, cli.ExitOK)
	for _, want := range []string{"1 serving yes ingest,fetch north 127.0.0.1:", "1 1 1-3", "2 serving, silent - ingest - h:9 2-3 2-3 1-3"} {
		if !strings.Contains(words(o.stdout), want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	var list []struct {
		ID              int32
		Controller      bool
		Fenced          string
		Leads, Assigned []uint32
	}
	o = c.run(t, "node", "list", "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil || len(list) != 2 || !list[0].Controller || list[1].Fenced != "silent" ||
		!slices.Equal(list[0].Leads, []uint32{1}) || !slices.Equal(list[1].Assigned, []uint32{2, 3}) {
		t.Errorf("%v in %s", err, o.stdout)
	}
	s.removed = 2 // while the command looks
	if again := c.run(t, "node", "list", "-o", "json"); again.stdout != o.stdout {
		t.Errorf("next to a removal: %s%s", again.stdout, again.stderr)
	}
	c.run(t, "__complete", "node", "drain", "").expect(t, cli.ExitOK, "1\n2\n:4\n")
	c.run(t, "__complete", "node", "drain", "1", "").expect(t, cli.ExitOK, ":4\n")
	c.run(t, "__complete", "node", "remove", "1", "").expect(t, cli.ExitOK, "2\n:4\n")
	s.nodes = nil
	c.run(t, "node", "list").expect(t, cli.ExitOK, "knows one node that writes", "varve cluster upgrade", "north")
}

func TestADrainWaitsUntilTheNodeLeadsNothing(t *testing.T) {
	s, c := newSeveral(t)
	s.failures = 1 // asked again
	s.onLook = func(looks int) {
		if looks == 2 {
			s.nodes["2"][kafka.AssignedConfig], s.nodes["2"][kafka.LeadsConfig] = "", "3"
		}
		if looks == 3 {
			s.nodes["2"][kafka.LeadsConfig] = ""
		}
	}
	o := c.run(t, "node", "drain", "2", "-o", "json")
	o.expect(t, cli.ExitOK, `"result": "drained"`)
	if s.looks < 3 || s.nodes["2"][kafka.StateConfig] != "drained" {
		t.Errorf("%d looks, %v", s.looks, s.nodes["2"])
	}
	c.run(t, "node", "drain", "2").expect(t, cli.ExitOK, "drained node 2\n")
	c.run(t, "node", "undrain", "2").expect(t, cli.ExitOK, "undrained node 2\n")
	s.onLook, s.nodes["2"][kafka.LeadsConfig] = nil, "0,3"
	c.run(t, "node", "drain", "2", "--no-wait").expect(t, cli.ExitOK, "draining node 2\n")
	c.run(t, "node", "drain", "2", "--timeout", "1s").expect(t, cli.ExitFailure, "node 2: still has the metadata journal and 1 journal (3) after 1s, and is drained further")
	s.onLook = func(int) { s.nodes["2"][kafka.StateConfig] = "serving" }
	c.run(t, "node", "drain", "2").expect(t, cli.ExitFailure, "is serving again: another command has ended the drain")
	s.onLook = nil
	c.run(t, "node", "drain", "1").expect(t, cli.ExitFailure, "node 1: it is the last ingest node that serves (POLICY_VIOLATION")
	c.run(t, "node", "drain", "7").expect(t, cli.ExitFailure, "node 7: the cluster has no node 7 (BROKER_ID_NOT_REGISTERED")
}

func TestNodesAreRemovedOnceThatIsAgreed(t *testing.T) {
	s, c := newSeveral(t)
	c.run(t, "node", "remove", "2").expect(t, cli.ExitUsage, "nothing was removed", "--yes to remove for good")
	c.run(t, "node", "remove", "2", "--yes").expect(t, cli.ExitFailure, "node 2 still has journal 2")
	s.nodes["2"][kafka.StateConfig] = "drained"
	s.failures = 1 // it is removed, and the answer is lost
	o := c.run(t, "node", "remove", "1", "2", "--yes", "-o", "json")
	o.expect(t, cli.ExitFailure, `"result": "removed"`, `"result": "failed"`, "remove nodes: node 1: ")
	c.run(t, "node", "remove", "2", "--yes").expect(t, cli.ExitFailure, "varve node list")
	keyboard, stdin := terminal(t)
	c.stdin = stdin
	if _, err := keyboard.WriteString("no\n"); err != nil {
		t.Fatal(err)
	}
	c.run(t, "node", "remove", "1").expect(t, cli.ExitFailure, "Remove node 1 for good? Its data folder never joins again. Type yes:", "nothing was removed")
}

func TestJournalsAreAddedOnceThatIsAgreed(t *testing.T) {
	s, c := newSeveral(t)
	c.run(t, "cluster", "journals").expect(t, cli.ExitOK, "the cluster has 3 journals\n")
	c.run(t, "cluster", "journals", "3").expect(t, cli.ExitOK, "the cluster has 3 journals\n")
	c.run(t, "cluster", "journals", "2").expect(t, cli.ExitFailure, "never lowered", "nothing was changed")
	c.run(t, "cluster", "journals", "6", "--dry-run").expect(t, cli.ExitOK, "from 3 to 6; nothing was changed")
	c.run(t, "cluster", "journals", "6").expect(t, cli.ExitUsage, "nothing was changed", "--yes")
	if s.journals != "3" {
		t.Errorf("%s journals", s.journals)
	}
	c.run(t, "cluster", "journals", "6", "--yes", "-o", "json").expect(t, cli.ExitOK, `"result": "raised"`, `"to": 6`)
	if s.journals != "6" {
		t.Errorf("%s journals", s.journals)
	}
	s.nodes = nil
	c.run(t, "cluster", "journals").expect(t, cli.ExitFailure, "varve cluster upgrade")
	broker(t, kfake.SeedTopics(1, "a")).run(t, "cluster", "journals", "4").expect(t, cli.ExitFailure, "is it varve?")
}
