package main

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// createOthers creates the topics next to the one of the history, but for those that come
// and go.
func (r *round) createOthers(ctx context.Context) error {
	if err := r.createTopic(ctx, slowTopic, len(slowRates), nil); err != nil {
		return fmt.Errorf("slow topic: %w", err)
	}
	if err := r.createTopic(ctx, compactedTopic, 1, compactedConfigs); err != nil {
		return fmt.Errorf("compacted topic: %w", err)
	}
	r.slow, r.keyed, r.fading = newSlowLog(), newCompactedLog(), newFadingLogs()
	for _, l := range r.fading {
		if err := r.createTopic(ctx, l.topic, fadingPartitions, l.configs); err != nil {
			return fmt.Errorf("%s topic: %w", l.topic, err)
		}
	}
	r.passing = &passing{history: r.history, nodes: []string{r.cluster.clients, r.cluster.reads}, strict: r.cluster.several == nil, random: rand.New(rand.NewPCG(r.seed, 4))}
	return nil
}

// others returns how much was done with these topics.
func (r *round) others() map[string]int64 {
	done := map[string]int64{
		"reads of the whole log":         r.rereads.whole.Load(),
		"deletions of the passing topic": r.passing.deleted.Load(),
	}
	for i, name := range []string{"leader", "follower"} {
		done["reads of the whole log after index pages were removed, at the "+name] = r.rereads.behind[i].Load()
	}
	for _, l := range r.fading {
		done["offsets gone of the topic "+l.topic] = l.gone()
	}
	return done
}
