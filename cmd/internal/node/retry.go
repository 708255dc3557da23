package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
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
	segment.ErrUnsupported, segment.ErrCorrupt, errNoCluster,
}

// patiently calls f until it succeeds, fails for good, or patience is over. The
// first failure is logged, so that nobody waits in the dark.
func (n *node) patiently(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for pause := startPause; ; pause = min(2*pause, startMaxPause) {
		err := f()
		if err == nil || isDefinite(err) {
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

func isDefinite(err error) bool {
	for _, d := range definite {
		if errors.Is(err, d) {
			return true
		}
	}
	return false
}
