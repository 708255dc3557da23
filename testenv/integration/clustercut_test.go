package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/nodes"
	"github.com/varvelog/varve/tiering/segment"
)

// journalFolder is the prefix of the keys of a journal's objects.
func journalFolder(journal uint32) string { return segment.JournalPrefix(journal) }

// cutFor is how long tests leave a cut as it is: longer than each limit after which nodes
// judge each other.
const cutFor = 15 * time.Second

// Two nodes do not reach each other, but clients and the bucket. Each journal is taken once
// at most.
func TestACutBetweenTwoNodesIsNoWarOfFences(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	before := s.leaderships()
	s.Cut(s.Nodes[:1], s.Nodes[1:])
	time.Sleep(cutFor)
	writing.progress(t, 300)
	if s.Nodes[0].Peers.Held()+s.Nodes[1].Peers.Held() == 0 {
		t.Error("nothing met the cut")
	}
	s.wantMore(before, func(uint32) int { return 1 })
	s.Heal()
	s.awaitShares(s.Writing()...)
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", s.Nodes[0])
}

// A node loses the bucket and nothing else: its journals move to one that has it.
func TestANodeWithoutTheBucketLosesItsJournals(t *testing.T) {
	t.Parallel()
	for name, choose := range map[string]bool{"the controller": true, "another node": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSeveral(t, 2, 0)
			partitions := s.topic("events")
			victim, others := s.controller()
			if !choose {
				victim, others = others[0], []*nodes.Node{victim}
			}
			writing := s.produce("events", partitions, acksAll...)
			writing.progress(t, 300)
			before := s.leaderships()
			victim.Store.Set(faultproxy.Fault{Kind: faultproxy.BlackHole, Rate: 1, Delay: time.Minute})
			s.awaitLed(others...)
			writing.progress(t, 300)
			s.wantMore(before, func(uint32) int { return 1 })
			victim.Store.Set()
			s.awaitShares(s.Writing()...)
			s.wantWritten(writing, "events", s.Nodes...)
			s.wantOnce("events", others[0])
		})
	}
}

// The bucket is away for all. No node could do better, so nothing moves.
func TestNothingMovesWhileTheBucketIsAwayForAll(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing, one := s.produce("events", partitions, acksAll...), s.produce("events", partitions, acksOne...)
	writing.progress(t, 300)
	before := s.leaderships()
	for _, n := range s.Nodes {
		n.Store.Set(faultproxy.Fault{Kind: faultproxy.Reset, Rate: 1})
	}
	one.progress(t, 300) // the disk is enough for these
	time.Sleep(30 * time.Second)
	for _, n := range s.Nodes {
		n.Store.Set()
	}
	writing.progress(t, 300)
	s.wantMore(before, func(uint32) int { return 0 })
	s.wantWritten(one, "events", s.Nodes...)
	s.wantWritten(writing, "events", s.Nodes...)
}

// NATS carries announcements only.
func TestNothingMovesWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 1)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	before := s.leaderships()
	s.nats.Stop()
	writing.progress(t, 1000)
	time.Sleep(cutFor)
	s.topic("created-without-NATS")
	for _, n := range s.Nodes {
		awaitTopicAt(t, n.Kafka, "created-without-NATS")
	}
	s.wantMore(before, func(uint32) int { return 0 })
	s.do(s.nats.Restart())
	s.wantWritten(writing, "events", s.Nodes...)
}

// A data folder was copied to another machine, with the identity of its node.
func TestACopyOfADataFolderEnds(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	before := s.leaderships()
	copied, err := s.Add(true)
	s.do(err)
	copyFolder(t, s.Nodes[0].DataDir, copied.DataDir)
	s.do(copied.Start())
	err = copied.Process().Wait()
	if code := exitCodeOf(t, err); code != permanent {
		t.Errorf("the copy ends with exit code %d:\n%s", code, copied.Log())
	}
	writing.progress(t, 300)
	s.wantMore(before, func(uint32) int { return 0 })
	s.wantWritten(writing, "events", s.Nodes[:2]...)
}

func exitCodeOf(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := err.(*exec.ExitError)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

// copyFolder copies a data folder that is in use. A file that vanishes is left out.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(name, 0o755)
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(name, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A node advertises an address at which others do not reach it. It is refused, says why, and
// harms nothing.
func TestANodeWithAWrongAddressIsRefused(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	before := s.leaderships()
	wrong, err := s.Add(true)
	s.do(err)
	wrong.Peers.Cut() // nothing passes at the address that it advertises
	s.do(wrong.Start())
	s.await("the new node says why it is refused", func(map[uint32]*nodes.Node) bool {
		return strings.Contains(wrong.Log(), "advertise")
	})
	for _, n := range s.Nodes[:2] {
		s.wantBrokers(n, 2)
	}
	writing.progress(t, 300)
	s.wantMore(before, func(uint32) int { return 0 })
	wrong.Peers.Heal()
	s.do(wrong.AwaitReady(deadline(t)))
	s.wantBrokers(wrong, 3)
	s.wantWritten(writing, "events", s.Nodes...)
}
