package kafka

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// asking notes the questions of the gate, and denies all or none.
type asking struct {
	denies bool
	mu     sync.Mutex
	asked  map[string]bool
	by     *listener.Client // the last
}

func (a *asking) allows(by *listener.Client, op operation, on aclResource) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by = by
	a.asked[strings.Join([]string{op.String(), on.kind.String(), on.name}, " ")] = true
	return !a.denies
}

func (a *asking) allowsSome(by *listener.Client, op operation, kind kmsg.ACLResourceType) bool {
	return a.allows(by, op, aclResource{kind, "some"})
}

// allowFunc is an authorizer of one function.
type allowFunc func(by *listener.Client, op operation, on aclResource) bool

func (f allowFunc) allows(by *listener.Client, op operation, on aclResource) bool {
	return f(by, op, on)
}

func (f allowFunc) allowsSome(by *listener.Client, op operation, kind kmsg.ACLResourceType) bool {
	return f(by, op, aclResource{kind, "some"})
}

func allowAll(*listener.Client, operation, aclResource) bool { return true }

// take returns the questions since the last call.
func (a *asking) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := slices.Sorted(maps.Keys(a.asked))
	a.asked = map[string]bool{}
	return asked
}

// asks are the operations that each key asks for while all are allowed, as Kafka's
// brokers do. Only two keys are for every client, besides those of
// endsWithout.
var asks = map[kmsg.Key][]string{
	kmsg.Produce:              {"WRITE TOPIC events"},
	kmsg.Fetch:                {"READ TOPIC events"},
	kmsg.ListOffsets:          {"DESCRIBE TOPIC events"},
	kmsg.Metadata:             {"DESCRIBE TOPIC events"},
	kmsg.OffsetCommit:         {"READ GROUP simple", "READ TOPIC events"},
	kmsg.OffsetFetch:          {"DESCRIBE GROUP simple", "DESCRIBE TOPIC events"},
	kmsg.FindCoordinator:      {"DESCRIBE GROUP g"},
	kmsg.JoinGroup:            {"READ GROUP joined-v9"},
	kmsg.Heartbeat:            {"READ GROUP simple"},
	kmsg.LeaveGroup:           {"READ GROUP simple"},
	kmsg.SyncGroup:            {"READ GROUP simple"},
	kmsg.DescribeGroups:       {"DESCRIBE GROUP none", "DESCRIBE GROUP simple"},
	kmsg.ListGroups:           {"DESCRIBE CLUSTER kafka-cluster"},
	kmsg.ApiVersions:          nil,
	kmsg.CreateTopics:         {"CREATE CLUSTER kafka-cluster"},
	kmsg.DeleteTopics:         {"DELETE TOPIC no-such-topic"},
	kmsg.DeleteRecords:        {"DELETE TOPIC events"},
	kmsg.InitProducerID:       {"IDEMPOTENT_WRITE CLUSTER kafka-cluster"},
	kmsg.OffsetForLeaderEpoch: {"DESCRIBE TOPIC events"},
	kmsg.DescribeACLs:         {"DESCRIBE CLUSTER kafka-cluster"},
	kmsg.CreateACLs:           {"ALTER CLUSTER kafka-cluster"},
	kmsg.DeleteACLs:           {"ALTER CLUSTER kafka-cluster"},

	kmsg.DescribeUserSCRAMCredentials: {"DESCRIBE CLUSTER kafka-cluster"},
	kmsg.AlterUserSCRAMCredentials:    {"ALTER CLUSTER kafka-cluster"},
	kmsg.DescribeConfigs:              {"DESCRIBE_CONFIGS CLUSTER kafka-cluster", "DESCRIBE_CONFIGS TOPIC events"},
	kmsg.AlterConfigs:                 {"ALTER_CONFIGS TOPIC events"},
	kmsg.DescribeLogDirs:              {"DESCRIBE CLUSTER kafka-cluster"},
	kmsg.CreatePartitions:             {"ALTER TOPIC events"},
	kmsg.DeleteGroups:                 {"DELETE GROUP none"},
	kmsg.ElectLeaders:                 {"ALTER CLUSTER kafka-cluster"},
	kmsg.IncrementalAlterConfigs:      {"ALTER_CONFIGS TOPIC events"},
	kmsg.ListPartitionReassignments:   {"DESCRIBE CLUSTER kafka-cluster"},
	kmsg.OffsetDelete:                 {"DELETE GROUP simple", "READ TOPIC events"},
	kmsg.UpdateFeatures:               {"ALTER CLUSTER kafka-cluster"},
	kmsg.DescribeCluster:              nil,
	kmsg.UnregisterBroker:             {"ALTER CLUSTER kafka-cluster"},
	kmsg.ListConfigResources:          {"DESCRIBE_CONFIGS CLUSTER kafka-cluster"},
	kmsg.DescribeTopicPartitions:      {"DESCRIBE TOPIC events"},
}

// endsWithout are the keys whose answer ends a connection to a listener without SASL.
var endsWithout = map[kmsg.Key]bool{kmsg.SASLHandshake: true, kmsg.SASLAuthenticate: true}

func TestEveryKeyAsksTheGate(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	a := &asking{asked: map[string]bool{}}
	cl := startGuarded(t, c, Config{}, c.backend(), a).dial(t)
	for _, k := range advertised() {
		key := kmsg.Key(k.ApiKey)
		if endsWithout[key] {
			continue
		}
		want, ok := asks[key]
		if !ok {
			t.Errorf("%s has no row in asks: name the operations that Kafka wants for it", key.Name())
		}
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			a.take()
			cl.ask(sample(k.ApiKey, v, topic))
			got := a.take()
			if v == k.MaxVersion && !slices.Equal(withoutBits(key, got), want) {
				t.Errorf("%s v%d asks for %q, want %q", key.Name(), v, got, want)
			}
			if len(got) == 0 && len(want) > 0 && (key != kmsg.Produce || v >= produceBatches) {
				t.Errorf("%s v%d asks for nothing", key.Name(), v)
			}
		}
	}
}

// withoutBits leaves out questions about operations that a client is only shown.
func withoutBits(key kmsg.Key, asked []string) []string {
	return slices.DeleteFunc(asked, func(q string) bool {
		return (key == kmsg.DescribeGroups || key == kmsg.DescribeTopicPartitions) && !strings.HasPrefix(q, "DESCRIBE ")
	})
}

// codesSeen keeps the first error code of each answer.
type codesSeen struct {
	listener.NoMetrics
	codes chan int16
}

func (c codesSeen) Request(o listener.Observation) { c.codes <- o.Code }

// TestADeniedClientGetsNothing: each key is answered with the code for a denied resource
// of its kind, and nothing is written, listed or created.
func TestADeniedClientGetsNothing(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	a := &asking{asked: map[string]bool{}, denies: true}
	b := c.backend()
	seen := codesSeen{codes: make(chan int16, 1)}
	b.Metrics = seen
	cl := startGuarded(t, c, Config{AutoCreateTopics: true}, b, a).dial(t)
	denials := []int16{
		kerr.TopicAuthorizationFailed.Code, kerr.GroupAuthorizationFailed.Code,
		kerr.ClusterAuthorizationFailed.Code, kerr.TransactionalIDAuthorizationFailed.Code,
	}
	for _, k := range advertised() {
		if endsWithout[kmsg.Key(k.ApiKey)] {
			continue
		}
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			cl.ask(sample(k.ApiKey, v, topic))
			code := <-seen.codes
			key := kmsg.Key(k.ApiKey)
			if old := key == kmsg.Produce && v < produceBatches; len(asks[key]) > 0 && key != kmsg.ListGroups && !old && !slices.Contains(denials, code) {
				t.Errorf("%s v%d: code %d", key.Name(), v, code)
			}
		}
	}
	all := cl.ask(&kmsg.MetadataRequest{Version: 12}).(*kmsg.MetadataResponse)
	if <-seen.codes; len(all.Topics) != 0 {
		t.Errorf("topics are listed: %+v", all.Topics)
	}
	if topics := c.Topics(); len(topics) != 1 || len(c.altered) != 0 || c.nextPID != 0 {
		t.Errorf("topics %v, %d altered, producer id %d", topics, len(c.altered), c.nextPID)
	}
	for key, log := range c.logs {
		if log.end != 0 || log.start != 0 {
			t.Errorf("%v was written to or deleted from", key)
		}
	}
}

func TestTheGateHearsWhoAsks(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	a := &asking{asked: map[string]bool{}}
	cl := startGuarded(t, c, Config{}, c.backend(), a).dial(t)
	cl.ask(sample(18, 4, nil))
	cl.ask(sample(0, 9, topic))
	want := listener.Client{
		Principal: listener.Principal{Type: "User", Name: "ANONYMOUS"}, ID: "test", Address: cl.LocalAddr().String(), Host: "127.0.0.1",
		Listener: "TEST", SoftwareName: "test", SoftwareVersion: "1.0",
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !reflect.DeepEqual(*a.by, want) {
		t.Errorf("the client is %+v, want %+v", *a.by, want)
	}
}
