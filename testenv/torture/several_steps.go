package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/nodes"
)

// Targets of steps of several nodes. A step on nodes chooses its node when it is made.
const (
	onNodes    target = "node"
	onPeers    target = "peers"
	onNATS     target = "NATS"
	onOperator target = "operator"
)

// Actions on several nodes.
const (
	killTwo        action = "kill -9 of two of"
	killAll        action = "kill -9 of all of"
	killController action = "kill -9 of the controller of"
	rolling        action = "rolling restart of"
	cutPair        action = "cut between two of"
	isolate        action = "cut of one from all of"
	breakAll       action = "reset of all connections of"
	stopNATS       action = "stop of"
	cutFromNATS    action = "cut of one from"
	drainNode      action = "drain and undrain by"
)

// lateLosses is how long after a fault a node may go on acknowledging records by its disk,
// though another one has its journals.
const lateLosses = 6 * time.Second

// deckOfSeveral returns every kind of step for several nodes.
func deckOfSeveral(faults []faultproxy.Kind) []card {
	cards := []card{
		{onNodes, kill, ""}, {onNodes, kill, ""}, {onNodes, kill, ""}, {onNodes, killController, ""}, {onNodes, killTwo, ""}, {onNodes, killAll, ""},
		{onNodes, pause, ""}, {onNodes, pause, ""}, {onNodes, terminate, ""}, {onNodes, loseDisk, ""}, {onNodes, rolling, ""},
		{onPeers, cutPair, ""}, {onPeers, isolate, ""}, {onPeers, breakAll, ""},
		{onNATS, stopNATS, ""}, {onNATS, cutFromNATS, ""},
		{onStore, kill, ""}, {onStore, pause, ""},
		{onOperator, drainNode, ""},
	}
	for _, kind := range faults {
		cards = append(cards, card{onNetwork, "", kind})
	}
	return cards
}

// planSeveral draws a schedule for several nodes, as plan does for two.
func planSeveral(seed uint64, duration, interval time.Duration, faults []faultproxy.Kind) []step {
	random := rand.New(rand.NewPCG(seed, 1))
	var steps []step
	var stack []card
	for from := time.Duration(0); from < duration; from += 3 * interval {
		if from > 3*interval && random.IntN(4) == 0 {
			continue
		}
		for range 2 + random.IntN(2) {
			if len(stack) == 0 {
				stack = deckOfSeveral(faults)
				random.Shuffle(len(stack), func(i, j int) { stack[i], stack[j] = stack[j], stack[i] })
			}
			dealt := stack[0]
			stack = stack[1:]
			if from == 0 {
				dealt = card{onNodes, kill, ""} // a short round has these at least
			}
			for i := range time.Duration(dealt.times()) {
				at := from + i*interval + time.Duration(random.Int64N(int64(interval)))
				if at < duration {
					steps = append(steps, dealt.playSeveral(at, duration, interval, random))
				}
			}
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	return steps
}

// times is how often a card is played in its turn: long actions once.
func (c card) times() int {
	if slices.Contains([]action{killAll, loseDisk, rolling, drainNode, stopNATS}, c.action) {
		return 1
	}
	return 3
}

// playSeveral draws the measure of a step of several nodes.
func (c card) playSeveral(at, duration, interval time.Duration, random *rand.Rand) step {
	s := c.play(at, duration, interval, random)
	s.pick = random.Uint32()
	longest := duration / 6
	switch {
	case c.target == onNodes && c.action == pause:
		s.span = []time.Duration{time.Second, 5 * time.Second, 35 * time.Second}[random.IntN(3)]
	case c.target == onPeers, c.target == onNATS:
		s.span = time.Second + time.Duration(random.Int64N(int64(20*time.Second)))
	case c.target == onOperator:
		s.span = 5*time.Second + time.Duration(random.Int64N(int64(20*time.Second)))
	case c.target == onNetwork:
		s.span = interval/5 + time.Duration(random.Int64N(int64(2*interval)))
	}
	s.span = min(s.span, longest).Round(time.Millisecond)
	return s
}

// performSeveral makes a step of several nodes.
func (n *nemesis) performSeveral(ctx context.Context, s step) error {
	c := n.cluster
	switch s.target {
	case onNetwork:
		return n.disturbStore(ctx, s)
	case onStore:
		if s.action == pause {
			return c.pauseStore(ctx, s.span)
		}
		return c.killStore(ctx, s.span)
	case onPeers:
		return n.cutPeers(ctx, s)
	case onNATS:
		return n.cutNATS(ctx, s)
	case onOperator:
		return n.drain(ctx, s)
	}
	return n.hitNodes(ctx, s)
}

// chosen returns the node that a step is for. Those that write are chosen twice as often.
func (s step) chosen(c *cluster) *node {
	pool := append(slices.Clone(c.writing()), c.nodes...)
	return pool[int(s.pick)%len(pool)]
}

func (n *nemesis) hitNodes(ctx context.Context, s step) error {
	c, victim := n.cluster, s.chosen(n.cluster)
	defer n.losing()()
	switch s.action {
	case pause:
		return victim.pause(ctx, s.span)
	case terminate:
		return victim.terminate()
	case loseDisk:
		return n.replace(ctx, s)
	case rolling:
		return n.roll(ctx)
	case killController:
		if found := c.controller(ctx); found != nil {
			victim = found
		}
		return victim.kill(nil)
	case killTwo:
		first := int(s.pick) % severalIngest
		if err := c.writing()[first].kill(nil); err != nil {
			return err
		}
		return c.writing()[(first+1)%severalIngest].kill(nil)
	case killAll:
		for _, one := range c.nodes {
			if err := one.kill(nil); err != nil {
				return err
			}
		}
		return nil
	}
	return victim.kill(nil)
}

// losing notes that records which only the disk of a node has may be lost, from now until a
// while after the function that it returns is called.
func (n *nemesis) losing() (end func()) {
	over := n.cluster.nodes[0].history.Losing()
	return func() {
		n.later.Go(func() {
			time.Sleep(lateLosses)
			over()
		})
	}
}

// roll restarts one node after the other.
func (n *nemesis) roll(ctx context.Context) error {
	for _, one := range n.cluster.nodes {
		if err := one.terminate(); err != nil {
			return err
		}
		starting, cancel := context.WithTimeout(ctx, startLimit)
		err := awaitReady(starting, one)
		cancel()
		if err != nil && ctx.Err() == nil {
			n.say("%v", err) // another fault may keep it from that
		}
	}
	return nil
}

// disturbStore has a fault between one node, or at times all, and the store.
func (n *nemesis) disturbStore(ctx context.Context, s step) error {
	defer n.losing()()
	proxies := n.cluster.proxies
	if i := int(s.pick) % (len(proxies) + 1); i < len(proxies) {
		proxies = proxies[i : i+1]
	}
	for _, p := range proxies {
		p.Set(s.fault)
	}
	sleep(ctx, s.span)
	for _, p := range proxies {
		p.Set()
	}
	return nil
}

func (n *nemesis) cutPeers(ctx context.Context, s step) error {
	defer n.losing()()
	set := n.cluster.several.set
	one := int(s.pick) % len(set.Nodes)
	rest := slices.Delete(slices.Clone(set.Nodes), one, one+1)
	switch s.action {
	case breakAll:
		for _, m := range set.Nodes {
			m.Peers.Break()
		}
		return nil
	case cutPair:
		rest = rest[int(s.pick>>8)%len(rest):][:1]
	}
	set.Cut([]*nodes.Node{set.Nodes[one]}, rest)
	sleep(ctx, s.span)
	set.Heal()
	return nil
}

func (n *nemesis) cutNATS(ctx context.Context, s step) error {
	c := n.cluster.several
	if s.action == cutFromNATS {
		bus := c.set.Nodes[int(s.pick)%len(c.set.Nodes)].Bus
		bus.Cut()
		sleep(ctx, s.span)
		bus.Heal()
		return nil
	}
	c.nats.Stop()
	sleep(ctx, s.span)
	return c.nats.Restart()
}

// drain drains a node for a while, as an operator does. It is undrained whatever happens.
func (n *nemesis) drain(ctx context.Context, s step) error {
	victim, id := n.cluster.answering(ctx, s)
	if victim == nil {
		return nil
	}
	if _, err := n.cluster.varve(ctx, "node", "drain", id, "--no-wait", "--bootstrap", n.cluster.clients); err != nil {
		n.say("node %s is not drained: %v", id, err) // a fault, or it is the last one
	} else {
		n.count("drained nodes", 1)
	}
	sleep(ctx, s.span)
	if err := n.cluster.operate("node", "undrain", id); err != nil && n.cluster.brokerID(ctx, victim) == id {
		n.failing("%s is not undrained: %v", victim.name, err)
	}
	return nil
}

// doneBySeveral returns how often each kind of step was made, and how much work clients did. Faults
// of the network come with the flags, and are not demanded.
func (r *round) doneBySeveral() map[string]int64 {
	done := map[string]int64{}
	r.nemesis.mu.Lock()
	for _, c := range deckOfSeveral(nil) {
		name := step{target: c.target, action: c.action}.name()
		done[name] = int64(r.nemesis.done[name])
	}
	done["drained nodes"], done["removed nodes"] = int64(r.nemesis.done["drained nodes"]), int64(r.nemesis.done["removed nodes"])
	r.nemesis.mu.Unlock()
	for name, n := range r.crew.done() {
		done[name] = n
	}
	done["reads of the whole log"], done["deletions of the passing topic"] = r.rereads.whole.Load(), r.passing.deleted.Load()
	return done
}

// stepsOfSeveral returns the steps of which there was none.
func (r *round) stepsOfSeveral(lacking []string) (steps []step) {
	random := rand.New(rand.NewPCG(r.seed, 6))
	for _, c := range deckOfSeveral(nil) {
		name := step{target: c.target, action: c.action}.name()
		again := c.action == drainNode && slices.Contains(lacking, "drained nodes") || c.action == loseDisk && slices.Contains(lacking, "removed nodes")
		if again || slices.Contains(lacking, name) {
			steps = append(steps, c.playSeveral(0, r.duration, r.interval, random))
			return steps // one after the other
		}
	}
	return nil
}
