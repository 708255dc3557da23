package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// request sends a request to another node on a connection that both have proved, once. An
// Outcome of Refused or Replaced means that it was not sent.
type request func(ctx context.Context, node segment.ID, run metadata.Run, req kmsg.Request) (kmsg.Response, membership.Outcome, error)

// control is the way to the controller, and to the head of journal 0. It implements
// kafka.Control.
type control struct {
	*node
	proof *sharedProof
}

func (n *node) newControl() *control {
	return &control{n, newSharedProof(n.proveMetadata)}
}

// Leads implements kafka.Control. A node that works with no other one is its own controller.
func (c *control) Leads() bool {
	return !c.inCluster() || c.controller != nil && c.controller.Leads()
}

// Head implements kafka.Control.
func (c *control) Head() uint64 { return c.meta.Head() }

// Forward implements kafka.Control.
func (c *control) Forward(ctx context.Context, req *kmsg.EnvelopeRequest) (*kmsg.EnvelopeResponse, error) {
	resp, err := c.send(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.EnvelopeResponse), nil
}

// send sends a request to the controller, once.
func (c *control) send(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	if c.request == nil {
		return nil, fmt.Errorf("%w, and reads alone", metadata.ErrNotController)
	}
	to := c.meta.Cluster().Node(c.leaders.Leader(0).Node)
	if to == nil || to.Node == c.dir.Node() {
		return nil, kafka.ErrNotSent
	}
	resp, outcome, err := c.request(ctx, to.Node, to.Run, req)
	if outcome == membership.Refused || outcome == membership.Replaced {
		return nil, fmt.Errorf("%w: node %d: %w", kafka.ErrNotSent, to.ID, err)
	}
	return resp, err
}

const (
	// askPause is the time between two attempts to reach the controller.
	askPause = 200 * time.Millisecond
	// lookPause is the time between two looks at journal 0 while its next object is awaited.
	lookPause = 100 * time.Millisecond
)

// ask sends a request of this node to the controller until one has taken it, or ctx ends. It
// returns errLeadsNow if this node is the controller.
func (c *control) ask(ctx context.Context, kind peer.Kind, body []byte) ([]byte, error) {
	for {
		if c.Leads() {
			return nil, errLeadsNow
		}
		resp, err := c.send(ctx, &peer.Request{Kind: kind, Body: body})
		if err == nil {
			reply := resp.(*peer.Reply)
			if err = kerr.ErrorForCode(reply.Code); err == nil {
				return reply.Body, nil
			}
			err = fmt.Errorf("%w: %s", err, reply.Text)
		}
		if !errors.Is(err, kafka.ErrNotSent) && !errors.Is(err, kerr.NotController) {
			return nil, err
		}
		if pause(ctx, askPause) != nil {
			return nil, err
		}
	}
}

var errLeadsNow = errors.New("this node is the controller")

// Await implements kafka.Control. It has journal 0 looked at until the seq is applied.
func (c *control) Await(ctx context.Context, seq uint64) error {
	wake := make(chan struct{}, 1)
	defer c.meta.Watch(wake)()
	for c.meta.Head() < seq {
		c.pokeMetadata()
		select {
		case <-wake:
		case <-time.After(lookPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Prove implements kafka.Control.
func (c *control) Prove(ctx context.Context, since time.Time) error {
	if c.Leads() {
		return nil
	}
	return c.proof.Since(ctx, since)
}

// ProducerIDs implements kafka.Control.
func (c *control) ProducerIDs(ctx context.Context) (metadata.ProducerIDBlock, error) {
	if c.controller == nil {
		return metadata.ProducerIDBlock{}, metadata.ErrNotController
	}
	return c.controller.ProducerIDs(ctx)
}

// CreateInternal implements kafka.Control.
func (c *control) CreateInternal(ctx context.Context, name string) error {
	switch {
	case c.controller == nil:
		return metadata.ErrNotController
	case name != metadata.ConsumerOffsets:
		return fmt.Errorf("%w: %q", metadata.ErrInvalidName, name)
	}
	err := c.controller.CreateTopics(ctx, []metadata.NewTopic{metadata.NewConsumerOffsets()}, false)[0].Err
	if errors.Is(err, metadata.ErrTopicExists) {
		return nil
	}
	return err
}

// ensureInternal makes sure that a topic exists which the cluster keeps for itself, and that
// this node knows it.
func (c *control) ensureInternal(ctx context.Context, name string) error {
	answer, err := c.ask(ctx, peer.KindInternalTopic, membership.AppendInternalTopic(nil, name))
	if errors.Is(err, errLeadsNow) {
		return c.CreateInternal(ctx, name)
	}
	if err != nil {
		return err
	}
	seq, err := membership.DecodeSeq(answer)
	if err != nil {
		return err
	}
	return c.Await(ctx, seq)
}

// moreProducerIDs returns a block of ids for clients of this node.
func (c *control) moreProducerIDs(ctx context.Context) (metadata.ProducerIDBlock, error) {
	answer, err := c.ask(ctx, peer.KindProducerIDs, nil)
	if errors.Is(err, errLeadsNow) {
		return c.ProducerIDs(ctx)
	}
	if err != nil {
		return metadata.ProducerIDBlock{}, err
	}
	return membership.DecodeProducerIDs(answer)
}

// proveMetadata returns nil once all that was committed to journal 0 before the call is
// applied.
func (n *node) proveMetadata(ctx context.Context) error {
	if n.controller != nil {
		return n.controller.Prove(ctx)
	}
	return n.followers.ProveMetadata(ctx)
}

// pokeMetadata has journal 0 looked at soon.
func (n *node) pokeMetadata() {
	if n.controller != nil {
		n.controller.Poke()
		return
	}
	n.followers.Poke(0)
}
