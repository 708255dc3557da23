package node

import (
	"context"
	"fmt"
	"time"
)

// A store that does not answer, or answers that it is busy, may answer a little
// later. A start waits that long for it: a supervisor that starts the process
// again could do no better.
const (
	startPatience = 30 * time.Second
	startPause    = 200 * time.Millisecond
	startMaxPause = 3 * time.Second
)

// patiently calls f until it succeeds, fails for good, or patience is over. It
// logs the first failure, so that an operator sees the reason of the wait.
func (n *node) patiently(ctx context.Context, task string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tries := 0 // with an error that does not change
	for pause := startPause; ; pause = min(2*pause, startMaxPause) {
		err := f()
		if err == nil {
			if pause != startPause {
				n.log.Info(task + " succeeded after all")
			}
			return nil
		}
		if most := kindOf(err).tries; most > 0 {
			if tries++; tries >= most {
				return err
			}
		}
		if pause == startPause {
			n.log.Warn(task+" failed, trying again", "for", startPatience, "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", task, err)
		}
	}
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
