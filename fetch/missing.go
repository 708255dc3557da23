package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/partlog"
)

// errMissing is an object that the state names and the store does not have.
var errMissing = fmt.Errorf("%w: object not found", ErrStorage)

// missingError is an errMissing that a reader has just met. It is damage only if a head
// that is proved afterwards still names the object: the records may lie in another object
// by now, or be deleted.
type missingError struct {
	place
	Damage       // that it is then
	found  int64 // moment of the Reader
}

func (e *missingError) Error() string { return e.Err.Error() }

func (e *missingError) Unwrap() error { return e.Err }

// missing turns an errMissing into a missingError, and leaves other errors as they are.
func (r *Reader) missing(at place, k partlog.Key, first, last int64, err error) error {
	if !errors.Is(err, errMissing) {
		return err
	}
	d := Damage{Object: at.object, Key: k, First: first, Last: last, Err: err}
	return &missingError{place: at, Damage: d, found: r.moments.Add(1)}
}

// knownError is the error of a verdict in force: no reader looked.
type knownError struct{ error }

func (e knownError) Unwrap() error { return e.error }

// gone has the objects that a request has found missing for one partition, each before the
// last proof of a head.
type gone map[string]bool

// again returns nil if the partition has to be looked up again, because err is a missing
// object, and the head is proved since. Else it returns the error that stays. A second loss
// of an object is damage: objects do not come back, and the proved head still named it.
// The state may name one object after another, each merged away before it is read; so
// there is no limit but that of ctx.
func (g *gone) again(ctx context.Context, q *query, k partlog.Key, err error) error {
	var lost *missingError
	if !errors.As(err, &lost) {
		return err
	}
	if (*g)[lost.object] && errors.Is(lost.Err, partlog.ErrBehind) {
		return fmt.Errorf("%w: the floor moves: %w", ErrNotReady, partlog.ErrBehind)
	}
	if (*g)[lost.object] {
		d := lost.Damage
		d.Err = lost
		q.reader.verdicts.found(lost.place, d)
		return err
	}
	if errors.As(err, new(knownError)) {
		return err
	}
	q.renew() // the journal may have been replaced: its old state stays behind
	j, err := q.locate(k)
	if err != nil {
		return err
	}
	if err := q.proveSince(ctx, j, lost.found); err != nil {
		return err
	}
	if *g == nil {
		*g = gone{}
	}
	q.reader.verdicts.lookOn(lost.place)
	(*g)[lost.object] = true
	return nil
}
