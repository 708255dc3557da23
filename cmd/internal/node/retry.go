package node

import (
	"context"
	"fmt"
	"time"
)

// A store that does not answer, or answers that it is busy, may do better a little
// later; a start waits that long for it, because a supervisor that starts the
// process again would not do better.
const (
	startPatience = 30 * time.Second
	startPause    = 200 * time.Millisecond
	startMaxPause = 3 * time.Second
)

// patiently calls f until it succeeds, fails for good, or patience is over. The
// first failure is logged, so that an operator sees what the start waits for.
func (n *node) patiently(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tries := 0 // that gave an error which does not change
	for pause := startPause; ; pause = min(2*pause, startMaxPause) {
		err := f()
		if err == nil {
			if pause != startPause {
				n.log.Info(what + " succeeded after all")
			}
			return nil
		}
		if most := kindOf(err).tries; most > 0 {
			if tries++; tries >= most {
				return err
			}
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
