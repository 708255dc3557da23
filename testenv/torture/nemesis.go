package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// followerLimit is how long a start of the follower is waited for.
const followerLimit = 5 * time.Second

// nemesis carries out the steps of a schedule on a cluster, and counts them.
type nemesis struct {
	cluster    *cluster
	disturbing *disturbances
	say        func(format string, args ...any)
	tooLate    time.Duration // a step that others have delayed for longer is left out
	later      sync.WaitGroup

	mu     sync.Mutex
	done   map[string]int
	failed error
}

// run carries out the steps at their times and returns when all are over: then
// no process is paused or down, and the network has no fault. When ctx ends,
// steps under way are cut short.
func (n *nemesis) run(ctx context.Context, began time.Time, steps []step) error {
	var targets sync.WaitGroup
	for _, target := range []target{onLeader, onFollower, onNodes, onPeers, onNATS, onOperator, onStore, onNetwork} {
		targets.Go(func() {
			for _, s := range steps {
				if s.target == target {
					sleep(ctx, time.Until(began.Add(s.at)))
					if ctx.Err() != nil {
						return
					}
					if time.Since(began.Add(s.at)) < n.tooLate {
						n.do(ctx, s)
					}
				}
			}
		})
	}
	targets.Wait()
	n.later.Wait()
	n.cluster.healStore()
	return n.failed
}

func (n *nemesis) do(ctx context.Context, s step) {
	n.say("%v", s)
	end := func() {}
	if s.disturbs() {
		end = n.disturbing.begin()
	}
	err := n.perform(ctx, s)
	end()
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.target != onNetwork {
		n.done[s.name()]++ // the proxy counts its own
	}
	n.failed = errors.Join(n.failed, err)
}

func (n *nemesis) count(what string, times int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done[what] += times
}

func (n *nemesis) perform(ctx context.Context, s step) error {
	c := n.cluster
	if c.several != nil {
		return n.performSeveral(ctx, s)
	}
	switch s.target {
	case onNetwork:
		c.proxies[0].Set(s.fault)
		sleep(ctx, s.span)
		c.proxies[0].Set()
		return nil
	case onStore:
		if s.action == pause {
			return c.pauseStore(ctx, s.span)
		}
		return c.killStore(ctx, s.span)
	}
	victim := c.leader
	if s.target == onFollower {
		victim = c.follower
	}
	switch s.action {
	case pause:
		return victim.pause(ctx, s.span)
	case terminate:
		return victim.terminate()
	case killTidy:
		return n.killTidying(ctx, s.span)
	case loseDisk:
		return victim.kill(victim.loseDisk)
	case loseHints:
		return n.loseHints(ctx)
	}
	return victim.kill(nil)
}

// loseHints kills the leader, and removes the checkpoints above its floor. The follower starts
// right before, from the last of these. So it holds index pages that the leader does not
// know any more, writes in another way, and removes.
func (n *nemesis) loseHints(ctx context.Context) error {
	c := n.cluster
	if err := c.follower.kill(nil); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, followerLimit)
	defer cancel()
	if awaitReady(starting, c.follower) != nil {
		n.say("the follower is not ready within %v", followerLimit) // a fault may keep it from that
	}
	return c.leader.kill(func() {
		if removed, err := c.forgetHints(); err != nil {
			n.say("removed %d checkpoints, then: %v", removed, err) // the store is away
		} else {
			n.count("checkpoints removed", removed)
		}
	})
}

// killTidying kills the leader some times, each right after it has logged a step of tiering that
// it has died after the fewest times. In between the leader has time for whole jobs.
func (n *nemesis) killTidying(ctx context.Context, span time.Duration) error {
	c := n.cluster
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	for range (len(tidyingSteps) + 1) / 2 {
		step, err := c.tidying.await(ctx)
		if err != nil || step == "" {
			return err
		}
		if err := c.leader.kill(nil); err != nil {
			return err
		}
		if err := c.tidying.died(); err != nil {
			return err
		}
		n.count("kill -9 after tiering step: "+step, 1)
	}
	return nil
}
