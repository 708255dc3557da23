package model

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "check larger bounds too: a minute of CPU, and 2 GB")

// Bounds that the tests share.
var (
	leaders  = Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{3, 2}, Resends: 1, Floors: 2}
	wide     = Config{Leaders: 2, Seqs: 7, Window: 3, Objects: []int{3, 1}, Resends: 1, Floors: 1}
	restart  = Config{Leaders: 2, Seqs: 5, Window: 2, Objects: []int{2, 1}, Resends: 1, Restarts: 1, Floors: 1}
	slow     = Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{1, 1}, Resends: 1, Restarts: 1, Floors: 2, SlowRead: true}
	reader   = Config{Leaders: 2, Seqs: 5, Window: 2, Objects: []int{2, 1}, Resends: 1, Floors: 2, Reader: true}
	few      = Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{2, 2}, Resends: 1, Floors: 1}
	lives    = Config{Leaders: 2, Seqs: 5, Window: 2, Objects: []int{1, 1}, Resends: 1, Lives: 1, Floors: 2}
	takeOver = Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{2, 1}, Restarts: 1, Floors: 1, Reader: true}
)

func without(c Config, r Rules) Config {
	c.Without = r
	return c
}

func check(t *testing.T, c Config) Result {
	t.Helper()
	begin := time.Now()
	r, err := Check(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states in %v", r.States, time.Since(begin).Round(time.Millisecond))
	if r.Violation != "" {
		for i, step := range r.Trace {
			t.Logf("%3d  %s", i+1, step)
		}
		t.Logf("     %s", r.Violation)
	}
	return r
}

// The numbers of states are pinned: a change of the model that loses some, or
// gains some, is to be looked at.
func TestProtocolHolds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		long   bool
		config Config
		states int
	}{
		{"two leaders", false, leaders, 1324782},
		{"window of three", false, wide, 619469},
		{"a restart", false, restart, 1175122},
		{"a restart, slow reads", false, slow, 374212},
		{"a reader", false, reader, 995685},
		{"a reader, two take-overs", false, takeOver, 1786699},
		{"a leader that reads on", false, lives, 221838},
		{"a leader that reads on, twice", false, Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{1, 1}, Lives: 2, Floors: 2}, 504502},
		{"a leader alone that reads on, twice", false, Config{Leaders: 1, Seqs: 6, Window: 2, Objects: []int{2}, Resends: 1, Lives: 2, Floors: 2}, 17882},
		{"two leaders, more seqs", true, Config{Leaders: 2, Seqs: 7, Window: 2, Objects: []int{3, 2}, Resends: 1, Floors: 2}, 3341010},
		{"two leaders, more re-sends", true, Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{2, 2}, Resends: 2, Floors: 2}, 2648734},
		{"a restart, slow reads, more data", true, Config{Leaders: 2, Seqs: 5, Window: 2, Objects: []int{2, 1}, Resends: 1, Restarts: 1, Floors: 2, SlowRead: true}, 3378708},
		{"two restarts, slow reads", true, Config{Leaders: 2, Seqs: 5, Window: 2, Objects: []int{1, 1}, Resends: 1, Restarts: 2, Floors: 2, SlowRead: true}, 3045677},
		{"a reader, a restart, re-sends", true, Config{Leaders: 2, Seqs: 5, Window: 2, Objects: []int{1, 1}, Resends: 1, Restarts: 1, Floors: 2, Reader: true}, 2645880},
		{"a reader, more seqs", true, Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{2, 2}, Resends: 1, Floors: 2, Reader: true}, 5737013},
		{"a leader that reads on, more data", true, Config{Leaders: 2, Seqs: 6, Window: 2, Objects: []int{2, 1}, Resends: 1, Lives: 1, Floors: 1}, 2282117},
		{"three leaders", true, Config{Leaders: 3, Seqs: 6, Window: 2, Objects: []int{2, 1, 1}, Floors: 2}, 1279488},
		{"three leaders, re-sends", true, Config{Leaders: 3, Seqs: 6, Window: 2, Objects: []int{1, 1, 1}, Resends: 1, Floors: 2}, 1914491},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && !*long {
				t.Skip("only with -long")
			}
			if testing.Short() && tt.states > 1_000_000 {
				t.Skip("not with -short")
			}
			r := check(t, tt.config)
			if r.Violation != "" || !r.Exhausted {
				t.Errorf("exhausted %v, violation %q, want all states without one", r.Exhausted, r.Violation)
			}
			if r.States != tt.states {
				t.Errorf("%d states, want %d", r.States, tt.states)
			}
		})
	}
}

// needed are the rules with a known counterexample: its bounds, its violation,
// and its number of steps.
var needed = []struct {
	rule   Rules
	config Config
	want   string
	steps  int
}{
	{AckInOrder, leaders, "ACKED LOST", 3},
	{WindowFromLowest, leaders, "SETTLING BROKEN", 13},
	{SameBytes, leaders, "ACKED LOST", 6},
	{ReadBack, leaders, "ACKED LOST", 4},
	{AnswerOfObject, lives, "CALLED BROKEN", 7},
	{EpochFromLog, restart, "ACKED LOST", 12},
	{FenceRebuilt, restart, "TWINS", 11},
	{Settle, leaders, "SETTLING BROKEN", 9},
	{SettleFromWinner, leaders, "SETTLING BROKEN", 13},
	{FenceFloor, leaders, "SETTLING BROKEN", 16},
	{FenceFloor, restart, "TWINS", 14},
	{FenceFloor, reader, "CALLED BROKEN", 18},
	{FenceFloorFresh, leaders, "SETTLING BROKEN", 16},
	{FenceFloorFresh, restart, "TWINS", 14},
	{FloorsOnce, leaders, "CONFIRMED MISSING", 10},
	{ReadFloorAtFence, reader, "WRONG DATA", 9},
	{ReadFloorAtFence, restart, "WRONG DATA", 12},
	{ReadFloorFresh, reader, "WRONG DATA", 10},
	{ReadFloorAtFence | ReadFloorAtVoid | ReadFloorAtContradiction, reader, "WRONG DATA", 9},
	{ReadFloorAtGap, reader, "HOLE FOR THE END", 7},
	{LeadFloorAtGap, leaders, "HOLE FOR THE END", 10},
	{FloorFirst, leaders, "CONFIRMED MISSING", 5},
	{FencesKept, leaders, "ACKED LOST", 8},
	{VoidsKept, takeOver, "CALLED BROKEN", 20},
	// Either of these two would do.
	{FillersKept | ReadFloorAtVoid, takeOver, "CALLED BROKEN", 20},
}

func TestEachRuleOffHasACounterexample(t *testing.T) {
	for _, tt := range needed {
		t.Run(tt.rule.String(), func(t *testing.T) {
			r := check(t, without(tt.config, tt.rule))
			if tt.want == "" || !strings.HasPrefix(r.Violation, tt.want) {
				t.Fatalf("violation %q, want %s", r.Violation, tt.want)
			}
			if len(r.Trace) != tt.steps {
				t.Errorf("%d steps, want %d", len(r.Trace), tt.steps)
			}
		})
	}
}

// beltAndBraces are the rules without a known counterexample. If each of them
// is left out, alone or with the others of its line, the protocol holds in all
// states within these bounds.
var beltAndBraces = []struct {
	rules  Rules
	config Config
}{
	{FloorBelowHead | FillersKept, few},
	{FillersKept | ReadFloorAtContradiction, reader},
	{ReadFloorAtVoid | ReadFloorAtContradiction, takeOver},
}

func TestBeltAndBraces(t *testing.T) {
	for _, tt := range beltAndBraces {
		t.Run(tt.rules.String(), func(t *testing.T) {
			if testing.Short() {
				t.Skip("not with -short")
			}
			if r := check(t, without(tt.config, tt.rules)); r.Violation != "" || !r.Exhausted {
				t.Errorf("exhausted %v, violation %q: now it is needed, or the bounds are too large", r.Exhausted, r.Violation)
			}
		})
	}
}

func TestEveryRuleIsInOneOfTheTables(t *testing.T) {
	var alone, held Rules
	for _, tt := range needed {
		if tt.rule&(tt.rule-1) == 0 {
			alone |= tt.rule
		}
	}
	for _, tt := range beltAndBraces {
		held |= tt.rules
	}
	if both := alone & held; both != 0 {
		t.Errorf("needed and yet not needed: %v", both)
	}
	if left := AllRules &^ (alone | held); left != 0 {
		t.Errorf("in neither table: %v", left)
	}
}

func TestStopsAtMaxStates(t *testing.T) {
	c := leaders
	c.MaxStates = 1000
	r := check(t, c)
	if r.Exhausted || r.Violation != "" || r.States < c.MaxStates {
		t.Errorf("%+v, want a stop after %d states", r, c.MaxStates)
	}
}

func TestRefusesBoundsItHasNoRoomFor(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no leader":             func(c *Config) { c.Leaders, c.Objects = 0, nil },
		"too many processes":    func(c *Config) { c.Leaders, c.Objects = 4, []int{1, 1, 1, 1} },
		"too many seqs":         func(c *Config) { c.Seqs = maxSeqs },
		"no window":             func(c *Config) { c.Window = 0 },
		"window too wide":       func(c *Config) { c.Window = maxSlots },
		"objects of one leader": func(c *Config) { c.Objects = []int{1} },
		"negative objects":      func(c *Config) { c.Objects = []int{1, -1} },
		"too many floors":       func(c *Config) { c.Floors = maxFloors + 1 },
		"too many re-sends":     func(c *Config) { c.Resends = maxResends + 1 },
		"negative restarts":     func(c *Config) { c.Restarts = -1 },
		"too many lives":        func(c *Config) { c.Lives = maxEpoch },
		"unknown rule":          func(c *Config) { c.Without = endOfRules },
	} {
		c := leaders
		change(&c)
		if _, err := Check(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
