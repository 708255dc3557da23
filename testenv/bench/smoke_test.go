package main

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
)

// TestMain lets this test binary be the trivial broker as well, for bench
// starts its own binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == trivialCommand {
		if err := serveTrivial(os.Stdin, os.Stdout, len(os.Args) > 2); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Each kind runs once, on varve, with next to no load.
func TestEveryKindOfCaseRuns(t *testing.T) {
	r := &runner{o: options{varve: testenv.VarveBinary(t), dir: t.TempDir(), duration: 100 * time.Millisecond, fill: 1 << 20, rate: 100, runs: 1}}
	if err := r.start(t.Context(), nil, io.Discard); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, b := range []bench{
		{Kind: produceKind, RecordSize: 200, Partitions: 2, Acks: "all"},
		{Kind: coldKind, RecordSize: 200, Partitions: 2, Acks: "1"},
		{Kind: latencyKind, RecordSize: 200, Partitions: 2, Acks: "all"},
		{Kind: syncKind, RecordSize: 200, Partitions: 1, Acks: "all"},
		{Kind: commitKind, Partitions: 1},
		{Kind: offsetsKind, Partitions: 3},
		{Kind: idsKind, Partitions: 1, Producers: 100},
		{Kind: startKind},
		{Kind: idleKind, RecordSize: 200, Partitions: 5, Acks: "all"},
	} {
		b.Store = fileStore
		t.Run(string(b.Kind), func(t *testing.T) {
			if testing.Short() && b.Kind != syncKind {
				t.Skip("one kind is enough: run without -short")
			}
			row, err := r.measure(t.Context(), b.named(), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if len(row.Series) != 1 || row.Series[0].Runs != 1 || row.Series[0].PeakBytes == 0 {
				t.Fatalf("got %+v", row)
			}
			if s := row.Series[0]; s.Value <= 0 && b.Kind != idleKind && b.Kind != idsKind { // their CPU time may be below a tick
				t.Errorf("the figure is %v", s.Value)
			}
		})
	}
}
