package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
)

// Control is journal 0, for a node of a cluster of several nodes. It is the way to the
// controller, which leads that journal, and the knowledge how far this node has applied it.
type Control interface {
	// Leads reports whether this node is the controller, as far as it knows.
	Leads() bool
	// Forward sends a request to the controller, once. ErrNotSent means that no controller
	// has it. After any other error its outcome is unknown.
	Forward(ctx context.Context, req *kmsg.EnvelopeRequest) (*kmsg.EnvelopeResponse, error)
	// Head is the seq up to which this node has applied journal 0.
	Head() uint64
	// Await returns nil once this node has applied journal 0 up to a seq.
	Await(ctx context.Context, seq uint64) error
	// Prove returns nil once this node has applied all that was committed to journal 0 before
	// a moment, or if it is the controller.
	Prove(ctx context.Context, since time.Time) error
	// ProducerIDs returns ids that no producer was ever given, if this node is the controller.
	ProducerIDs(ctx context.Context) (metadata.ProducerIDBlock, error)
	// CreateInternal makes sure that a topic exists which the cluster keeps for itself, if
	// this node is the controller.
	CreateInternal(ctx context.Context, name string) error
}

// ErrNotSent means that a request did not reach the controller: none is known, or it refuses
// connections. It may be sent again.
var ErrNotSent = errors.New("the controller was not reached")

// alone is the Control of a node that works with no other one: it answers all itself.
type alone struct{}

func (alone) Leads() bool { return true }

func (alone) Forward(context.Context, *kmsg.EnvelopeRequest) (*kmsg.EnvelopeResponse, error) {
	return nil, ErrNotSent
}

func (alone) Head() uint64 { return 0 }

func (alone) Await(context.Context, uint64) error { return nil }

func (alone) Prove(context.Context, time.Time) error { return nil }

func (alone) ProducerIDs(context.Context) (metadata.ProducerIDBlock, error) {
	return metadata.ProducerIDBlock{}, metadata.ErrNotController
}

func (alone) CreateInternal(context.Context, string) error { return metadata.ErrNotController }
