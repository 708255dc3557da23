package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// gate is the one way by which handlers reach things with an owner: topics, groups, the
// cluster, transactional ids. A handler passes the client and its operation, and the gate
// calls allows. The gate answers with Kafka's codes for a topic that is unknown, by name
// or by id, and for one that the client must not use.
type gate struct {
	topics Topics
	prove  func(ctx context.Context, since time.Time) error // of Control
	may    authorizer
}

// authorizer decides what clients may do; *Access is one.
type authorizer interface {
	allows(by *listener.Client, op operation, on aclResource) bool
	// allowsSome reports whether there may be a resource of a kind on which a client may do
	// op.
	allowsSome(by *listener.Client, op operation, kind kmsg.ACLResourceType) bool
}

func (g *gate) allows(by *listener.Client, op operation, on aclResource) bool {
	return g.may.allows(by, op, on)
}

// operation is an operation of a client on a resource.
type operation = kmsg.ACLOperation

const (
	toRead            = kmsg.ACLOperationRead
	toWrite           = kmsg.ACLOperationWrite
	toCreate          = kmsg.ACLOperationCreate
	toDelete          = kmsg.ACLOperationDelete
	toAlter           = kmsg.ACLOperationAlter
	toDescribe        = kmsg.ACLOperationDescribe
	toDescribeConfigs = kmsg.ACLOperationDescribeConfigs
	toAlterConfigs    = kmsg.ACLOperationAlterConfigs
	toWriteIdempotent = kmsg.ACLOperationIdempotentWrite
)

// aclResource is a thing that operations are allowed on.
type aclResource struct {
	kind kmsg.ACLResourceType
	name string
}

// wholeCluster is the name that the cluster has as a resource.
const wholeCluster = "kafka-cluster"

func topicNamed(name string) aclResource { return aclResource{kmsg.ACLResourceTypeTopic, name} }

var theCluster = aclResource{kmsg.ACLResourceTypeCluster, wholeCluster}

// topicRef is how a request names a topic: by id from some version on.
type topicRef struct {
	name string
	id   [16]byte
	byID bool
}

func byName(name string) topicRef { return topicRef{name: name} }

// topic finds a topic for a client that wants to do op. A client that may not use a
// name does not learn whether there is such a topic. That there is none is only said if this
// node has applied all metadata of before the request: another node may have created it.
func (g *gate) topic(r *listener.Request, op operation, ref topicRef) (*metadata.Topic, error) {
	t, err := g.known(r.Client, op, ref)
	if !unknownTopic(err) {
		return t, err
	}
	if err := g.proved(r); err != nil {
		return nil, err
	}
	return g.known(r.Client, op, ref)
}

// errUnproved means that this node does not know whether there is a topic or a partition.
var errUnproved = errors.New("this node does not know the newest topics")

// proved returns nil once this node has applied all metadata of before the request.
func (g *gate) proved(r *listener.Request) error {
	if err := g.prove(r.Waits(), r.Received()); err != nil {
		return fmt.Errorf("%w: %w", errUnproved, err)
	}
	return nil
}

// withPartition returns the topic, or a newer one, which has a partition; or why it has none.
func (g *gate) withPartition(r *listener.Request, t *metadata.Topic, partition int32) (*metadata.Topic, error) {
	if err := hasPartition(t, partition); err == nil {
		return t, nil
	}
	if err := g.proved(r); err != nil {
		return nil, err
	}
	if newer, ok := g.topics.TopicByID(t.ID); ok {
		t = newer
	}
	return t, hasPartition(t, partition)
}

// known is topic by the metadata that this node has applied.
func (g *gate) known(by *listener.Client, op operation, ref topicRef) (*metadata.Topic, error) {
	if ref.byID {
		t, ok := g.topics.TopicByID(segment.ID(ref.id))
		if !ok {
			return nil, coded(kerr.UnknownTopicID, "no topic has the id %s", segment.ID(ref.id).Base64())
		}
		if err := g.topicName(by, op, t.Name); err != nil {
			return nil, err
		}
		return t, nil
	}
	if err := g.topicName(by, op, ref.name); err != nil {
		return nil, err
	}
	return g.named(ref.name)
}

// version changes whenever topic may answer otherwise than before. Answers of topic that
// are kept must be asked for again then.
func (g *gate) version() uint64 { return g.topics.Version() }

// clusterTopic finds a topic for a client that may do op to the cluster, and so to it.
func (g *gate) clusterTopic(by *listener.Client, op operation, name string) (*metadata.Topic, error) {
	if err := g.cluster(by, op); err != nil {
		return nil, err
	}
	return g.named(name)
}

func (g *gate) named(name string) (*metadata.Topic, error) {
	if t, ok := g.topics.Topic(name); ok {
		return t, nil
	}
	return nil, coded(kerr.UnknownTopicOrPartition, "there is no topic %q", name)
}

// deleted lists the deleted topics of a name that can be restored, for a client that may
// create a topic of this name.
func (g *gate) deleted(name string) (topics []*metadata.Topic) {
	for _, t := range g.topics.Deleting() {
		if t.Name == name && t.DeletedMs > 0 {
			topics = append(topics, t)
		}
	}
	return topics
}

// restored finds a topic that the client has just restored.
func (g *gate) restored(id segment.ID) (*metadata.Topic, bool) { return g.topics.TopicByID(id) }

// unknownTopic reports whether err of the gate says that there is no such topic.
func unknownTopic(err error) bool {
	var c *codedError
	return errors.As(err, &c) && (c.kafka == kerr.UnknownTopicOrPartition || c.kafka == kerr.UnknownTopicID)
}

// hasPartition returns an error if a topic has no partition of a number.
func hasPartition(t *metadata.Topic, partition int32) error {
	if partition >= 0 && int(partition) < len(t.Partitions) {
		return nil
	}
	return coded(kerr.UnknownTopicOrPartition, "topic %q has %d partitions", t.Name, len(t.Partitions))
}

// topicName is topic for names that are looked up elsewhere, or new.
func (g *gate) topicName(by *listener.Client, op operation, name string) error {
	if g.allows(by, op, topicNamed(name)) {
		return nil
	}
	return coded(kerr.TopicAuthorizationFailed, "%s may not %s topic %q", by.Principal, op, name)
}

// newTopic is topicName for a topic that is to be created: Kafka lets clients do that
// which may create topics in the cluster, or one of this name.
func (g *gate) newTopic(by *listener.Client, name string) error {
	if g.allows(by, toCreate, theCluster) {
		return nil
	}
	return g.topicName(by, toCreate, name)
}

// allTopics lists the topics on which a client may do op, sorted by name.
func (g *gate) allTopics(by *listener.Client, op operation) []*metadata.Topic {
	all := g.topics.Topics()
	denied := func(t *metadata.Topic) bool { return !g.allows(by, op, topicNamed(t.Name)) }
	if !slices.ContainsFunc(all, denied) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), denied)
}

// clusterTopics lists all topics for a client that may do op to the cluster.
func (g *gate) clusterTopics(by *listener.Client, op operation) []*metadata.Topic {
	if g.cluster(by, op) != nil {
		return nil
	}
	return g.topics.Topics()
}

// group returns an error if a client may not do op to a group.
func (g *gate) group(by *listener.Client, op operation, id string) error {
	if g.allows(by, op, aclResource{kmsg.ACLResourceTypeGroup, id}) {
		return nil
	}
	return coded(kerr.GroupAuthorizationFailed, "%s may not %s group %q", by.Principal, op, id)
}

// listsGroup reports whether a client may know that there is a group.
func (g *gate) listsGroup(by *listener.Client, id string) bool {
	return g.allows(by, toDescribe, theCluster) || g.group(by, toDescribe, id) == nil
}

// cluster returns an error if a client may not do op to the cluster.
func (g *gate) cluster(by *listener.Client, op operation) error {
	if g.allows(by, op, theCluster) {
		return nil
	}
	return coded(kerr.ClusterAuthorizationFailed, "%s may not %s the cluster", by.Principal, op)
}

// producerID returns an error if a client may not have a producer id. It may if it may write
// to any topic, whether there is one or not (KIP-679).
func (g *gate) producerID(by *listener.Client) error {
	err := g.cluster(by, toWriteIdempotent)
	if err == nil || g.may.allowsSome(by, toWrite, kmsg.ACLResourceTypeTopic) {
		return nil
	}
	return err
}

// transactionalID returns an error if a client may not do op to a transactional id.
func (g *gate) transactionalID(by *listener.Client, op operation, id string) error {
	if g.allows(by, op, aclResource{kmsg.ACLResourceTypeTransactionalId, id}) {
		return nil
	}
	return coded(kerr.TransactionalIDAuthorizationFailed, "%s may not %s transactional id %q", by.Principal, op, id)
}

// The operations that Kafka knows for each kind of resource.
var (
	topicOperations   = []operation{toRead, toWrite, toCreate, toDelete, toAlter, toDescribe, toDescribeConfigs, toAlterConfigs}
	groupOperations   = []operation{toRead, toDelete, toDescribe, toDescribeConfigs, toAlterConfigs}
	clusterOperations = []operation{toCreate, toAlter, toDescribe, kmsg.ACLOperationClusterAction, toDescribeConfigs, toAlterConfigs, toWriteIdempotent}
)

// notAsked is the answer to a client that does not ask what it may do.
const notAsked = int32(-1 << 31)

// operations returns those of some operations that a client may do, as bits (KIP-430).
func (g *gate) operations(by *listener.Client, all []operation, on aclResource) (bits int32) {
	for _, op := range all {
		if g.allows(by, op, on) {
			bits |= 1 << op
		}
	}
	return bits
}

func (g *gate) operationsOnTopic(by *listener.Client, name string) int32 {
	return g.operations(by, topicOperations, topicNamed(name))
}

func (g *gate) operationsOnGroup(by *listener.Client, id string) int32 {
	return g.operations(by, groupOperations, aclResource{kmsg.ACLResourceTypeGroup, id})
}

func (g *gate) operationsOnCluster(by *listener.Client) int32 {
	return g.operations(by, clusterOperations, theCluster)
}
