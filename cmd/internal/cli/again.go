package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// retries say how long a command asks again after an error that passes by
// itself.
type retries struct {
	limit  time.Duration // longer than a fail-over to another node
	pause  time.Duration // between two attempts
	silent time.Duration // before the reason is shown
}

var usualRetries = retries{limit: 30 * time.Second, pause: 100 * time.Millisecond, silent: 2 * time.Second}

// again calls ask until its answer is final, and prints to standard error the
// reason it waits. The request of ask must change nothing, or nothing more when
// it is sent twice.
func again(ctx context.Context, env *Env, ask func() error) error {
	return usualRetries.run(ctx, env, ask)
}

func (r retries) run(ctx context.Context, env *Env, ask func() error) error {
	began, noted := time.Now(), false
	for {
		err := ask()
		waited := time.Since(began)
		switch {
		case err == nil || !passes(err):
			return err
		case waited > r.limit:
			return fmt.Errorf("%w (tried for %v)", err, r.limit)
		case waited > r.silent && !noted:
			noted = true
			fmt.Fprintf(env.Stderr, "varve: still trying, for %v at most: %s\n", r.limit, explain(err))
		}
		select {
		case <-time.After(r.pause):
		case <-ctx.Done():
			return errInterrupted
		}
	}
}

// passes reports whether an error will pass: brokers return such codes while
// something is under way. A topic that does not exist will not appear by
// itself.
func passes(err error) bool {
	var code *kerr.Error
	return errors.As(err, &code) && code.Retriable && code != kerr.UnknownTopicOrPartition && code != kerr.UnknownTopicID
}
