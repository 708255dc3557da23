package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
)

// target is the object of a step. Steps on one target run one after the other,
// those on different ones at the same time.
type target string

const (
	onLeader   target = "leader"
	onFollower target = "follower"
	onStore    target = "MinIO"
	onNetwork  target = "network"
)

// action is the effect on a process.
type action string

const (
	kill      action = "kill -9"
	terminate action = "SIGTERM"
	pause     action = "SIGSTOP"
	loseDisk  action = "kill -9 and lose the disk"
	loseHints action = "kill -9 and lose the checkpoints above the floor of"
	killTidy  action = "kill -9 between two steps of tiering of"
)

// step is one action or fault of the nemesis.
type step struct {
	at     time.Duration // since the beginning of the round
	target target
	action action           // to a process
	fault  faultproxy.Fault // to the network, if there is no action
	pick   uint32           // chooses among several nodes
	span   time.Duration    // how long a pause, an absence of the store, or a fault lasts
}

func (s step) name() string {
	if s.target == onNetwork {
		return string(s.fault.Kind)
	}
	return string(s.action) + " " + string(s.target)
}

// disturbs reports whether the step explains that nodes are slow to start or
// end by themselves. The kill of a node explains neither.
func (s step) disturbs() bool {
	switch s.target {
	case onLeader, onFollower:
		return s.action == pause
	case onNodes:
		return s.action != kill && s.action != killController && s.action != terminate
	}
	return true
}

func (s step) String() string {
	text := fmt.Sprintf("%6.1fs %s", s.at.Seconds(), s.name())
	if s.target == onNetwork {
		text = fmt.Sprintf("%6.1fs %v", s.at.Seconds(), s.fault)
	}
	if s.span > 0 {
		text += fmt.Sprintf(", for %v", s.span)
	}
	return text
}

// card is a kind of step, before its time and measure are drawn.
type card struct {
	target target
	action action
	fault  faultproxy.Kind
}

// deck returns every kind of step. The most important one comes as often as all
// others of its target.
func deck(faults []faultproxy.Kind) []card {
	cards := []card{
		{onLeader, kill, ""}, {onLeader, kill, ""}, {onLeader, killTidy, ""}, {onLeader, pause, ""}, {onLeader, terminate, ""}, {onLeader, loseDisk, ""}, {onLeader, loseHints, ""},
		{onFollower, kill, ""}, {onFollower, pause, ""},
		{onStore, kill, ""}, {onStore, pause, ""},
	}
	for _, kind := range faults {
		cards = append(cards, card{onNetwork, "", kind})
	}
	return cards
}

// plan draws a schedule as Jepsen's: a mix of kinds is at work, each about once
// an interval, for three intervals, and then another mix. A quarter of the time
// there is none. The mixes are dealt from a shuffled deck, so every kind has
// its turn. In every third mix, and in the first, the leader dies between steps of tiering, and
// nothing else keeps it from these. In the second one the follower stops for longer than objects stay.
func plan(seed uint64, duration, interval time.Duration, faults []faultproxy.Kind) []step {
	random := rand.New(rand.NewPCG(seed, 1))
	var steps []step
	var stack []card
	for from := time.Duration(0); from < duration; from += 3 * interval {
		tidying := from%(9*interval) == 0
		if from > 3*interval && !tidying && random.IntN(4) == 0 {
			continue
		}
		kinds := 2 + random.IntN(2)
		if from == 3*interval {
			stack = slices.Insert(stack, 0, card{onFollower, pause, ""})
		}
		if tidying {
			kinds, stack = 1, slices.Insert(stack, 0, card{onLeader, killTidy, ""})
		}
		for range kinds {
			if len(stack) == 0 {
				stack = deck(faults)
				random.Shuffle(len(stack), func(i, j int) { stack[i], stack[j] = stack[j], stack[i] })
			}
			dealt := stack[0]
			stack = stack[1:]
			for i := range time.Duration(3) {
				at := from + i*interval + time.Duration(random.Int64N(int64(interval)))
				if at < duration {
					steps = append(steps, dealt.play(at, duration, interval, random))
				}
			}
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	return steps
}

// play draws the measure of a step. In a short round the long ones are shorter.
func (c card) play(at, duration, interval time.Duration, random *rand.Rand) step {
	s := step{at: at, target: c.target, action: c.action}
	longest := duration / 6
	switch {
	case c.action == pause:
		s.span = []time.Duration{time.Second, 5 * time.Second, 35 * time.Second}[random.IntN(3)]
		switch c.target {
		case onStore:
			s.span = time.Second + time.Duration(random.Int64N(int64(15*time.Second)))
		case onFollower:
			s.span = max(s.span, 5*time.Second) // longer than each of graces
		}
	case c.action == killTidy:
		s.span = interval
	case c.action == kill && c.target == onStore:
		s.span = time.Duration(random.Int64N(int64(20 * time.Second)))
		if random.IntN(4) == 0 {
			s.span = time.Minute
		}
	case c.target == onNetwork:
		s.fault = faultproxy.Random(c.fault, random)
		s.fault.Delay = min(s.fault.Delay, longest).Round(time.Millisecond)
		s.span = interval/5 + time.Duration(random.Int64N(int64(interval)))
	}
	s.span = min(s.span, longest).Round(time.Millisecond)
	return s
}
