package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// fake is a system that is this process, or that fails to start.
type fake struct {
	label  string
	fails  error
	starts *[]string
}

func (f fake) name() string { return f.label }

func (f fake) start(context.Context, bench, place) (*target, error) {
	*f.starts = append(*f.starts, f.label)
	return &target{broker: broker{pid: os.Getpid()}, ready: time.Second, end: func() {}, output: func() string { return "" }}, f.fails
}

func TestSystemsRunInTurnAndOneThatFailsDropsOut(t *testing.T) {
	var starts []string
	r := &runner{o: options{dir: t.TempDir(), runs: 3}, stores: &stores{}, systems: []system{
		fake{ours, nil, &starts}, fake{"a", nil, &starts}, fake{"b", errCannot, &starts}, fake{"c", errors.New("broken"), &starts}}}
	row, err := r.measure(t.Context(), bench{Name: "n", Kind: startKind, Store: fileStore}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "n on c: broken") || strings.Contains(err.Error(), errCannot.Error()) {
		t.Errorf("got %v", err)
	}
	if want := []string{ours, "a", "b", "c", ours, "a", ours, "a"}; !slices.Equal(starts, want) {
		t.Errorf("started %v, not %v", starts, want)
	}
	if len(row.Series) != 2 || row.Series[0].Runs != 3 || row.Series[1].System != "a" || row.Series[1].Ahead != 1 {
		t.Errorf("got %+v", row)
	}
	left, err := os.ReadDir(r.o.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestACaseThatIsAboutTheStoreHasNoPeer(t *testing.T) {
	var starts []string
	r := &runner{o: options{dir: t.TempDir(), runs: 1}, stores: &stores{}, systems: []system{
		varveSystem{label: ours, binary: "/nowhere"}, fake{"a", nil, &starts}}}
	row, err := r.measure(t.Context(), bench{Name: "n", Kind: startKind, Store: fileStore, alone: true}, io.Discard)
	if err == nil || len(row.Series) > 0 || len(starts) > 0 {
		t.Errorf("got %+v, %v, started %v", row, err, starts)
	}
}
