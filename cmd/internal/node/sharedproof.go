package node

import (
	"context"
	"time"
)

const (
	// proofEvery is the least time between two proofs that a sharedProof asks for, however
	// many answers need one.
	proofEvery = time.Second
	// proofLimit limits one proof.
	proofLimit = 2 * time.Second
)

// sharedProof proves the head of a journal for answers that depend on it. One proof serves
// all requests that arrived before it began.
type sharedProof struct {
	prove func(ctx context.Context) error
	every time.Duration
	turn  chan struct{} // capacity 1: full while one caller proves, or reads the fields below
	began time.Time     // of the last proof
	err   error         // of it
}

func newSharedProof(prove func(ctx context.Context) error) *sharedProof {
	return &sharedProof{prove: prove, every: proofEvery, turn: make(chan struct{}, 1)}
}

// Since returns nil once a proof has succeeded that began at a moment or later, and an error
// if one failed.
func (p *sharedProof) Since(ctx context.Context, moment time.Time) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !p.began.IsZero() && !p.began.Before(moment) {
		return p.err
	}
	select {
	case <-time.After(time.Until(p.began.Add(p.every))):
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), proofLimit) // others wait for it, too
	defer cancel()
	p.began = time.Now()
	p.err = p.prove(ctx)
	return p.err
}
