package objstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// race lets many writers create one object at the same moment.
func (p *prober) race(ctx context.Context, key string) error {
	errs := p.createAtOnce(ctx, key)
	winners, undecided := count(errs)
	switch {
	case len(winners) > 1:
		return unsafe("%d of %d writers that created the same object at the same time got a success", len(winners), len(errs))
	case len(winners) == 0 && len(undecided) == 0:
		return unsafe("all of %d writers got the answer that a new object exists", len(errs))
	case len(winners) == 0:
		return fmt.Errorf("no writer got the answer that it created the object: %w", errs[undecided[0]])
	}
	if err := p.expect(ctx, key, probeData(key, winners[0])); err != nil {
		return err
	}
	return p.refused(ctx, key, probeData(key, len(errs)))
}

// createAtOnce returns the answer that each of the writers got.
func (p *prober) createAtOnce(ctx context.Context, key string) []error {
	p.racing <- struct{}{}
	defer func() { <-p.racing }()
	errs := make([]error, p.size.writers)
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	for w := range errs {
		data := probeData(key, w)
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			errs[w] = p.create(ctx, key, data)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return errs
}

// count sorts the writers by their answers: those that created the object, and those
// without an answer.
func count(errs []error) (winners, undecided []int) {
	for w, err := range errs {
		if err == nil {
			winners = append(winners, w)
		} else if !errors.Is(err, ErrExists) {
			undecided = append(undecided, w)
		}
	}
	return winners, undecided
}
