package tieringmodel

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "check larger bounds too: minutes of CPU, and several GB")

// Bounds that the tests of Segments share. Most have two objects of records before
// the start.
var (
	plain     = Bounds{Objects: 2, Length: 15, Window: 2, Jobs: 2, Releases: 1, Epochs: 2, Sends: 2, Split: true}
	deletes   = with(plain, func(b *Bounds) { b.Deletes = 1 })
	lists     = with(plain, func(b *Bounds) { b.Abandons, b.Swepts = 1, 1 })
	ended     = with(lists, func(b *Bounds) { b.Abandons, b.Limit, b.Sends = 2, 1, 1 })
	drops     = with(plain, func(b *Bounds) { b.Drops, b.Sends = 1, 1 })
	joins     = with(plain, func(b *Bounds) { b.Objects, b.Records, b.Deletes, b.Releases, b.Join, b.Sends = 1, 1, 1, 0, true, 1 })
	floors    = with(plain, func(b *Bounds) { b.Floors, b.JournalReleases, b.Sends, b.Epochs = 2, 1, 1, 1 })
	floored   = with(floors, func(b *Bounds) { b.Epochs = 2 })
	damage    = with(plain, func(b *Bounds) { b.Flips, b.Rots, b.Sends = 1, 1, 1 })
	sends     = with(damage, func(b *Bounds) { b.Sends, b.Rots = 2, 0 })
	followers = with(plain, func(b *Bounds) {
		b.Reader, b.Floors, b.JournalReleases, b.Sends, b.Epochs, b.Split = true, 2, 1, 1, 1, false
	})
	looks    = with(followers, func(b *Bounds) { b.Objects, b.Window, b.Jobs = 1, 1, 3 })
	paging   = Bounds{Seqs: 4, Starts: 1}
	rotting  = Bounds{Seqs: 3, Starts: 1, Rots: 2}
	compacts = Bounds{Seqs: 3, Passes: 3}
	limits   = with(plain, func(b *Bounds) {
		b.Objects, b.Records, b.Deletes, b.Releases, b.Epochs, b.Sends, b.Split, b.Limit = 1, 1, 2, 2, 1, 1, false, 1
	})
)

// everything but floors.
var everything = with(lists, func(b *Bounds) { b.Deletes, b.JournalReleases = 1, 1 })

func with(b Bounds, change func(*Bounds)) Bounds {
	change(&b)
	return b
}

// check searches in a model, and logs the trace of a violation.
func check(t *testing.T, model func(Config) Result, c Config) Result {
	t.Helper()
	begin := time.Now()
	r := model(c)
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
		model  func(Config) Result
		bounds Bounds
		tidy   int
		states int
	}{
		{"two leaders", false, Segments, plain, 1, 5064},
		{"DeleteRecords", false, Segments, deletes, 100, 158452},
		{"abandoned intents", false, Segments, lists, 10, 26361},
		{"dropped partitions", false, Segments, drops, 10, 46310},
		{"shared objects", false, Segments, joins, 100, 1007984},
		{"floors", false, Segments, floors, 10, 24881},
		{"floors, two leaders", false, Segments, floored, 100, 436417},
		{"damage", false, Segments, damage, 10, 5944},
		{"a follower", false, Segments, followers, 100, 247571},
		{"a limit", false, Segments, limits, 10, 45356},
		{"a limit and ended intents", false, Segments, ended, 10, 7961},
		{"index pages", false, Pages, paging, 0, 524853},
		{"checkpoints that rot", false, Pages, rotting, 0, 74868},
		{"compaction", false, Compacting, compacts, 0, 158965},
		{"everything but floors", true, Segments, everything, 100, 11626300},
		{"index pages, more objects", true, Pages, Bounds{Seqs: 5, Starts: 1}, 0, 8205948},
		{"checkpoints that rot, more objects", true, Pages, Bounds{Seqs: 4, Starts: 1, Rots: 2}, 0, 1687728},
		{"compaction, more records", true, Compacting, Bounds{Seqs: 4, Passes: 3}, 0, 1861981},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && !*long {
				t.Skip("only with -long")
			}
			if testing.Short() && tt.states > 200_000 {
				t.Skip("not with -short")
			}
			r := check(t, tt.model, Config{Bounds: tt.bounds, TidyEach: tt.tidy})
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
	model  func(Config) Result
	bounds Bounds
	want   string
	steps  int
}{
	{IntentFirst, Segments, plain, "LEAK", 3},
	{FenceEndsIntents, Segments, plain, "LEAK", 5},
	{PlacedStays, Segments, plain, "DELETED UNDER AN EXTENT", 10},
	{AbandonLists, Segments, lists, "LEAK", 6},
	{OpenNotGarbage, Segments, deletes, "DELETED UNDER AN EXTENT", 15},
	{FencedTwice, Segments, lists, "LEAK", 7},
	{AllTwice, Segments, lists, "LEAK", 9},
	{NewID, Segments, plain, "DELETED UNDER AN EXTENT", 12},
	{CreateIfAbsent, Segments, sends, "UNREADABLE", 10},
	{ReadBackFirst, Segments, damage, "UNREADABLE", 7},
	{ReadBack, Segments, damage, "UNREADABLE", 7},
	{SameBytes, Segments, damage, "UNREADABLE", 8},
	{Clip, Segments, deletes, "BRICKED", 10},
	{ClipHolds, Segments, deletes, "DELETED RECORDS ARE BACK", 10},
	{ClipOfTheGone, Segments, drops, "BRICKED", 13},
	{ClipByObject, Segments, deletes, "DELETED UNDER AN EXTENT", 12},
	{KeepUntilReleased, Segments, deletes, "LEAK", 20},
	{LeaveLast, Segments, drops, "LEAK", 22},
	{DataOnly, Segments, floored, "FENCE DELETED", 10},
	{Judge, Segments, plain, "GARBAGE THAT NO LEADER MAY RELEASE", 9},
	{Count, Segments, plain, "DELETED UNDER AN EXTENT", 22},
	{LimitUnderWay, Segments, limits, "BRICKED", 28},
	{LimitSparesEnded, Segments, ended, "BRICKED", 8},
	{DeleteApplied, Segments, lists, "DELETED UNDER AN EXTENT", 11},
	{FloorButOne, Segments, floors, "START LOST", 8},
	{BelowFloor, Segments, floors, "START LOST", 7},
	{FloorReadGood, Pages, rotting, "NO START", 7},
	{PagesOfTwoFloors, Pages, rotting, "A FLOOR'S", 9},
	{PagesOfGoodFloors, Pages, rotting, "A FLOOR'S", 10},
	{PagesYoung, Pages, paging, "NO CHECKPOINT", 2},
	{FloorOfKeptPages, Pages, paging, "A FLOOR'S", 12},
	{PagesAgain, Pages, paging, "NO CHECKPOINT", 8},
	{PageReload, Pages, paging, "node", 9},
	{Look, Segments, followers, "STORAGE ERROR", 18},
	{LookOn, Segments, looks, "STORAGE ERROR", 41},
	{CleanedLast, Compacting, compacts, "AN OLD VALUE IS BACK", 6},
	{PassToTheStart, Compacting, compacts, "AN OLD VALUE IS BACK", 12},
	{TombstonesOfBefore, Compacting, compacts, "AN OLD VALUE IS BACK", 5},
	{TombstonesWait, Compacting, compacts, "A SLOW READER", 13},
	{TombstonesNamed, Compacting, compacts, "A DELETED VALUE IS BACK", 9},
	{SnapshotDiscarded, Compacting, compacts, "A DELETED VALUE IS BACK", 10},
	{AroundDamage, Segments, damage, "MERGE DEBT STAYS", 2},
}

func TestEachRuleOffHasACounterexample(t *testing.T) {
	for _, tt := range needed {
		t.Run(tt.rule.String(), func(t *testing.T) {
			r := check(t, tt.model, Config{Bounds: tt.bounds, Without: tt.rule})
			if tt.want == "" || !strings.HasPrefix(r.Violation, tt.want) {
				t.Fatalf("violation %q, want %s", r.Violation, tt.want)
			}
			if len(r.Trace) != tt.steps {
				t.Errorf("%d steps, want %d", len(r.Trace), tt.steps)
			}
		})
	}
}

// beltAndBraces are the rules without a known counterexample. If they are left out,
// each alone or with the others of its line, the protocol holds in all states
// within these bounds.
var beltAndBraces = []struct {
	rules  Rules
	model  func(Config) Result
	bounds Bounds
}{
	{ReleaseApplied, Segments, deletes},
	{ReleaseApplied, Segments, drops},
	{OrderWithin | ReleaseApplied, Segments, joins},
}

func TestBeltAndBraces(t *testing.T) {
	for _, tt := range beltAndBraces {
		t.Run(tt.rules.String(), func(t *testing.T) {
			if testing.Short() {
				t.Skip("not with -short")
			}
			if r := check(t, tt.model, Config{Bounds: tt.bounds, Without: tt.rules}); r.Violation != "" || !r.Exhausted {
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
	r := check(t, Segments, Config{Bounds: deletes, MaxStates: 1000})
	if r.Exhausted || r.Violation != "" || r.States < 1000 {
		t.Errorf("%+v, want a stop after 1000 states", r)
	}
}
