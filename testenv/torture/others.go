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
	r.passing = &passing{history: r.history, nodes: []string{r.cluster.leader.kafka, r.cluster.follower.kafka}, random: rand.New(rand.NewPCG(r.seed, 4))}
	return nil
}

// others returns how much was done with these topics: some of each in a round of a minute.
func (r *round) others() map[string]int64 {
	done := map[string]int64{}
	if r.passing == nil {
		return done
	}
	done["reads of the whole log"] = r.rereads.Load()
	done["deletions of the passing topic"] = int64(r.passing.deleted)
	for _, l := range r.fading {
		for i := range l.parts {
			done["offsets gone of the topic "+l.topic] += l.parts[i].start
		}
	}
	return done
}
