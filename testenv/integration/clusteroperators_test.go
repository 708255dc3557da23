package integration

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/nodes"
	"github.com/varvelog/varve/testenv/seeded"
)

// refusals are the reasons for which a cluster refuses to drain or to remove a node.
var refusals = []string{"the last ingest node", "drain it first", "is still the controller", "is serving again"}

// Three operators drain, undrain and remove nodes at once, in any order. Each command is carried
// out or refused for a reason, so a controller answers each. Nodes that are removed are replaced.
func TestOperatorsInAnyOrderAlwaysHaveAController(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 3, 0)
	random := rand.New(rand.NewPCG(seeded.Seed(t), 0))
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	outcomes := map[string]int{}
	members := map[string]*nodes.Node{}
	for _, n := range s.Nodes {
		members[s.id(n)] = n
	}
	for range 25 {
		commands := make([][]string, 3)
		for i := range commands {
			commands[i] = s.anyOrder(random, members)
		}
		for id := range s.typed(commands, outcomes) {
			gone := members[id]
			delete(members, id)
			<-gone.Process().Done()
			fresh, err := s.Add(true)
			s.do(err)
			s.start(fresh)
			members[s.id(fresh)] = fresh
		}
		writing.progress(t, 100)
		time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
	}
	t.Logf("outcomes: %v", outcomes)
	var left []*nodes.Node
	for id, n := range members {
		s.run(n, "node", "undrain", id)
		left = append(left, n)
	}
	s.awaitShares(left...)
	s.wantWritten(writing, "events", left...)
	s.wantOnce("events", left[0])
}

// anyOrder draws a command for one of the nodes. It is sent to any of them.
func (s *several) anyOrder(random *rand.Rand, members map[string]*nodes.Node) []string {
	var ids, seeds []string
	for id, n := range members {
		ids, seeds = append(ids, id), append(seeds, n.Kafka)
	}
	slices.Sort(ids)
	slices.Sort(seeds)
	random.Shuffle(len(seeds), func(i, j int) { seeds[i], seeds[j] = seeds[j], seeds[i] })
	order := [][]string{{"drain", "--no-wait"}, {"undrain"}, {"remove", "--yes"}}[random.IntN(3)]
	return append([]string{"node", order[0], ids[random.IntN(len(ids))], "--bootstrap", strings.Join(seeds, ",")}, order[1:]...)
}

// typed runs commands at once, counts their outcomes, and returns the ids of the nodes that
// were removed.
func (s *several) typed(commands [][]string, outcomes map[string]int) map[string]bool {
	s.t.Helper()
	outs := make([]testenv.Output, len(commands))
	var running sync.WaitGroup
	for i, args := range commands {
		running.Go(func() { outs[i] = testenv.Varve{Args: args}.Run(s.t, patience) })
	}
	running.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
	removed := map[string]bool{}
	for i, out := range outs {
		if commands[i][1] == "remove" && out.Code == 0 {
			removed[commands[i][2]] = true
		}
	}
	for i, out := range outs {
		outcome := commands[i][1]
		if out.Code != 0 {
			why := slices.IndexFunc(refusals, func(reason string) bool { return strings.Contains(string(out.Stderr), reason) })
			switch {
			case why >= 0:
				outcome += ": " + refusals[why]
			case !removed[commands[i][2]]: // at the same time
				s.t.Errorf("varve %s: exit code %d: %s", strings.Join(commands[i], " "), out.Code, out.Stderr)
			}
		}
		outcomes[outcome]++
	}
	return removed
}
