package main

import (
	"flag"
	"reflect"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
)

func TestASeveralScheduleFollowsFromItsSeed(t *testing.T) {
	first := planSeveral(7, time.Minute, 4*time.Second, faultproxy.Kinds)
	if !reflect.DeepEqual(first, planSeveral(7, time.Minute, 4*time.Second, faultproxy.Kinds)) {
		t.Error("the same seed makes another schedule")
	}
	if reflect.DeepEqual(first, planSeveral(8, time.Minute, 4*time.Second, faultproxy.Kinds)) {
		t.Error("another seed makes the same schedule")
	}
}

func TestSchedulesOfSeveralHaveEveryKindOfFault(t *testing.T) {
	for seed := range uint64(20) {
		const duration, interval = 20 * time.Minute, 10 * time.Second
		seen, paused := map[string]int{}, map[time.Duration]bool{}
		for _, s := range planSeveral(seed, duration, interval, faultproxy.Kinds) {
			seen[s.name()]++
			if s.target == onNodes && s.action == pause {
				paused[s.span] = true
			}
		}
		for _, c := range deckOfSeveral(faultproxy.Kinds) {
			name := step{target: c.target, action: c.action, fault: faultproxy.Fault{Kind: c.fault}}.name()
			if seen[name] == 0 {
				t.Errorf("seed %d: no %s", seed, name)
			}
		}
		if !paused[5*time.Second] && !paused[35*time.Second] {
			t.Errorf("seed %d: pauses of %v", seed, paused)
		}
	}
}

// A step that is lacking is made, until none is.
func TestLackingStepsOfSeveralAreMade(t *testing.T) {
	r := &round{options: options{several: true, duration: allFrom, interval: time.Second}, crew: &crew{jobs: &jobsLog{}, departed: &departed{}}, passing: &passing{}}
	r.nemesis = &nemesis{done: map[string]int{}}
	for range 2 * len(deckOfSeveral(nil)) {
		done, err := r.done()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.stepsOfSeveral(r.lacking(done)) {
			r.nemesis.done[s.name()]++
			switch s.action {
			case drainNode:
				r.nemesis.done["drained nodes"]++
			case loseDisk:
				r.nemesis.done["removed nodes"]++
			}
		}
	}
	for _, c := range deckOfSeveral(nil) {
		if name := (step{target: c.target, action: c.action}).name(); r.nemesis.done[name] != 1 {
			t.Errorf("%s was made %d times", name, r.nemesis.done[name])
		}
	}
}

func TestAStepThatTakesNoNodesExcusesNoEnd(t *testing.T) {
	for _, s := range []step{{target: onNodes, action: kill}, {target: onNodes, action: terminate}, {target: onNodes, action: killController}} {
		if s.disturbs() {
			t.Errorf("%s explains why other nodes end", s.name())
		}
	}
	if s := (step{target: onPeers, action: cutPair}); !s.disturbs() {
		t.Errorf("%s explains nothing", s.name())
	}
}

var allClusters = flag.Bool("torture.cluster", false, "play a round of a cluster, too")

func TestAMinuteOfFaultsInAClusterBreaksNoPromise(t *testing.T) {
	if !*allClusters {
		t.Skip("takes some minutes: run with -torture.cluster")
	}
	r := playRound(t, "--cluster", "--duration", "60s", "--interval", "6s", "--rate", "1000")
	if r.Result.Acked < 1000 || r.Result.Read < 5000 || r.Faults["kill -9 node"] == 0 || r.LookUps == 0 || r.Group.Commits == 0 || r.Forced == 0 {
		t.Errorf("the round proves nothing: %+v", r)
	}
}
