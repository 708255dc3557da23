package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// A store that does not answer, or answers that it is busy, may do better a little
// later; a start waits that long for it, because a supervisor that starts the
// process again would not do better.
const (
	startPatience = 30 * time.Second
	startPause    = 200 * time.Millisecond
	startMaxPause = 3 * time.Second
)

// definite are errors that stay what they are however often one asks.
var definite = []error{
	objstore.ErrNoBucket, objstore.ErrDenied, objstore.ErrNotFound, objstore.ErrUnsafe, bucket.ErrURL, bucket.ErrSetup,
	segment.ErrUnsupported, errNoCluster,
}

// damage are errors about what was read. They may have been done on the way, so they
// are definite once they have come a few times.
var damage = []error{segment.ErrCorrupt, journal.ErrBroken}

const damagedTries = 3

// patiently calls f until it succeeds, fails for good, or patience is over. The
// first failure is logged, so that an operator sees what the start waits for.
func (n *node) patiently(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	damaged := 0
	for pause := startPause; ; pause = min(2*pause, startMaxPause) {
		err := f()
		if isAny(err, damage) {
			damaged++
		}
		if err == nil || isDefinite(err) || damaged == damagedTries {
			return err
		}
		if pause == startPause {
			n.log.Warn(what+" failed, trying again", "for", startPatience, "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

func isDefinite(err error) bool { return isAny(err, definite) }

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
