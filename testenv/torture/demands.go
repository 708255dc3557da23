package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	demandsFrom = time.Minute     // how long the faults of a round last at least that demands anything
	allFrom     = 5 * time.Minute // and one that demands all: see rare
	moreTimes   = 2               // a round goes on for so many times its duration at most
	moreLeast   = 5 * time.Minute // but for so long at least, if it must
	demandsTurn = time.Second     // between two looks at demands
)

// rare is work that a round of a minute may lack. A reader must hold a page of a checkpoint
// that the leader loses, and look for it once it is removed.
var rare = []string{foundPages}

// done returns how often each kind of work was done that a round demands.
func (r *round) done() (map[string]int64, error) {
	if r.several {
		return r.doneBySeveral(), nil
	}
	all, err := r.cluster.tidying.counts()
	if r.crew != nil {
		for _, name := range notOfGroups {
			delete(all, name)
		}
		maps.Copy(all, r.crew.done())
		return all, err
	}
	maps.Copy(all, r.others())
	return all, err
}

// lacking returns the work that was not done yet.
func (r *round) lacking(done map[string]int64) (lacking []string) {
	if r.duration < demandsFrom {
		return nil
	}
	for name, n := range done {
		if n == 0 && (r.duration >= allFrom || !slices.Contains(rare, name) && !r.several) {
			lacking = append(lacking, name)
		}
	}
	slices.Sort(lacking)
	return lacking
}

// goOn goes on with the round until all work was done that it demands, or for a bounded time. So
// it does not depend on the speed of the machine. The leader goes on to die, with quiet in
// between, if that is lacking.
func (r *round) goOn(ctx context.Context) error {
	began, said, next := time.Now(), "", time.Now()
	defer func() { r.report.MoreSeconds = time.Since(began).Seconds() }()
	limit := max(moreTimes*r.duration, moreLeast)
	for ; ctx.Err() == nil && time.Since(began) < limit; sleep(ctx, demandsTurn) {
		done, err := r.done()
		lacking := r.lacking(done)
		if err != nil || len(lacking) == 0 {
			return err
		}
		if text := strings.Join(lacking, ", "); text != said {
			r.say("goes on, because there was none of: %s", text)
			said = text
		}
		steps, quiet := r.stepsFor(lacking)
		if time.Now().Before(next) || len(steps) == 0 {
			continue
		}
		if err := r.nemesis.run(ctx, time.Now(), steps); err != nil {
			return err
		}
		next = time.Now().Add(quiet)
	}
	return nil
}

// stepsFor returns steps without which the lacking work may never be done, and how long nothing
// must disturb it after them.
func (r *round) stepsFor(lacking []string) (steps []step, quiet time.Duration) {
	interval := r.interval
	switch {
	case r.several:
		return r.stepsOfSeveral(lacking), interval
	case slices.ContainsFunc(lacking, func(name string) bool { return strings.HasPrefix(name, deathAfter) }):
		return []step{{target: onLeader, action: killTidy, span: interval}}, 2 * interval
	case slices.Contains(lacking, foundPages):
		return []step{{target: onLeader, action: loseHints}}, 6 * interval
	}
	return nil, 0
}

// demand notes each kind of work that the round lacks.
func (r *round) demand() error {
	done, err := r.done()
	r.report.Tidied = done
	for _, what := range r.lacking(done) {
		r.report.add("idle", "never in the round: %s", what)
	}
	return err
}
