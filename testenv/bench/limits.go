package main

import (
	"context"
	"errors"
)

// limits measures the limits of the machine for a case, right after it: on a
// machine with other users, later is another machine.
func (r *runner) limits(ctx context.Context, b bench, p place, c Cost) (all []limit, err error) {
	span := r.o.duration / 4
	add := func(l limit, failed error) {
		all, err = append(all, l), errors.Join(err, failed)
	}
	put, get := max(c.PutSize, 1<<10), max(c.GetSize, 1<<20)
	switch b.Kind {
	case offsetsKind, idsKind, startKind, idleKind: // no part of the machine limits them
	case syncKind, commitKind:
		if p.raw != nil {
			add(rawPut(ctx, p.raw, p.bucket, put, 1, span))
		} else {
			add(rawFilePut(ctx, p.dir, put, 1, span))
		}
	case hotKind:
	case coldKind:
		if p.raw != nil {
			add(rawGet(ctx, p.raw, p.bucket, get, span))
		} else {
			add(rawFileGet(ctx, p.dir, get, span))
		}
	default:
		switch {
		case b.Acks == "1":
			add(rawSync(ctx, p.dir, span))
		case p.raw != nil:
			add(rawPut(ctx, p.raw, p.bucket, put, putters, span))
			add(rawPutInOrder(ctx, p.raw, p.bucket, put, span))
		default:
			add(rawFilePut(ctx, p.dir, put, putters, span))
		}
	}
	if err != nil || b.Kind.measure().unit != rates.unit || b.Kind == javaKind {
		return all, err
	}
	add(r.clientLimit(ctx, b))
	return all, err
}

// clientLimit is the throughput of the load generator with a broker that does
// nothing.
func (r *runner) clientLimit(ctx context.Context, b bench) (limit, error) {
	t, err := startTrivial(ctx, b.Kind.reads())
	if err != nil {
		return limit{}, err
	}
	defer func() { _ = t.stop() }()
	half := *r
	half.o.duration /= 2
	if b.Kind == coldKind {
		b.Kind = hotKind
	}
	o, err := half.onBroker(ctx, b, &target{broker: t.broker}, false)
	return limit{Name: "client alone", BytesPerSecond: o.BytesPerSecond}, err
}
