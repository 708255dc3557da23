package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// system is a kind of broker that is measured.
type system interface {
	name() string
	// start returns a broker for one run of a case. A system that goes on
	// running between cases returns it, except for a case of starting.
	start(ctx context.Context, b bench, p place) (*target, error)
}

// target is a broker for one run.
type target struct {
	broker
	// ready is the time from the start until clients are served.
	ready time.Duration
	// forget makes the broker read from its disk or store again. It may be
	// another process then.
	forget func(ctx context.Context) error
	end    func()        // after the run
	output func() string // the last lines that the broker printed
}

// varveSystem starts a varve of its own for each run.
type varveSystem struct {
	label   string
	binary  string
	serve   []string
	budgets bool // it has putsFlag
}

// putsFlag is the flag of a node for a budget of PUTs. Older ones lack it.
const putsFlag = "--flush-puts-per-second"

// learn finds out which flags the binary has.
func (s *varveSystem) learn(ctx context.Context) error {
	help, err := exec.CommandContext(ctx, s.binary, "serve", "--help").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s serve --help: %w\n%s", s.binary, err, help)
	}
	s.budgets = bytes.Contains(help, []byte(putsFlag))
	return nil
}

func (s varveSystem) lacks(b bench) bool {
	return b.PutsPerSecond > 0 && !s.budgets
}

func (s varveSystem) name() string { return s.label }

func (s varveSystem) start(ctx context.Context, b bench, p place) (*target, error) {
	if s.lacks(b) {
		return nil, errCannot
	}
	args := append([]string{"--bucket", p.url, "--create-bucket"}, s.serve...)
	if b.PutsPerSecond > 0 {
		args = append(args, putsFlag, fmt.Sprint(b.PutsPerSecond))
	}
	n, took, err := s.startIn(ctx, p, args)
	if err != nil {
		return nil, err
	}
	t := &target{broker: n.broker, ready: took}
	t.end = func() { _ = n.process.Kill() } // its data is deleted as well
	t.output = func() string { return n.process.Output() }
	t.forget = func(ctx context.Context) error {
		again, err := n.forget(ctx, s.binary)
		if err != nil {
			return err
		}
		n, t.broker = again, again.broker
		if p.raw == nil {
			return dropPages(filepath.Join(p.dir, "bucket"))
		}
		return nil
	}
	return t, nil
}

// startIn starts a node on a new bucket. Behind a delay that takes long: the
// node which creates the bucket has none, and the one that is measured is the
// next on it.
func (s varveSystem) startIn(ctx context.Context, p place, args []string) (*node, time.Duration, error) {
	if p.slow != nil {
		p.slow(false)
		defer p.slow(true)
	}
	began := time.Now()
	n, err := startNode(ctx, s.binary, p.dir, args)
	took := time.Since(began)
	if err != nil || p.slow == nil {
		return n, took, err
	}
	p.slow(true)
	n, err = n.forget(ctx, s.binary)
	return n, took, err
}

// peerSystem is a broker that the user has started.
type peerSystem struct {
	broker
	logs string
}

func (s peerSystem) name() string { return "peer" }

// errCannot: a system cannot run a case.
var errCannot = errors.New("cannot run this case")

func (s peerSystem) start(_ context.Context, b bench, _ place) (*target, error) {
	if b.Kind == startKind {
		return nil, errCannot
	}
	resetPeak(s.pid)
	return &target{broker: s.broker, end: func() {}, output: func() string { return "" }, forget: func(context.Context) error {
		if s.logs == "" {
			return errCannot
		}
		return dropPages(s.logs)
	}}, nil
}

// cold explains what a cold case means for the systems.
func cold(systems []system) (lines []string) {
	for _, s := range systems {
		switch s := s.(type) {
		case varveSystem:
			if s.label == ours {
				lines = append(lines, "cold: varve starts with an empty data folder, and a bucket in a folder has left the system's memory; MinIO goes on")
			}
		case *kafkaSystem:
			if !s.fsync { // that one does not run them
				lines = append(lines, "cold: "+s.label+" goes on running, and its log has left the system's memory")
			}
		case peerSystem:
			if s.logs == "" {
				lines = append(lines, "cold: the peer does not run these cases without --peer-logs")
			} else {
				lines = append(lines, "cold: the peer goes on running, and its log has left the system's memory")
			}
		}
	}
	return lines
}
