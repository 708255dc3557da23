package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/senders"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manual is a sender whose records the test acknowledges.
type manual struct{}

func (manual) Send(uint64, int32, []byte, []byte) error { return nil }
func (manual) Close() error                             { return nil }
func (manual) Kill()                                    {}

func TestTheLongestGapIsThatOfOnePartition(t *testing.T) {
	var outcome senders.Outcome
	f := senders.Family{Name: "manual", Start: func(_ []string, _ string, o senders.Outcome) (senders.Sender, error) {
		outcome = o
		return manual{}, nil
	}}
	l, err := startLoad(f, nil, 0.001) // the test sends
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.end(); err != nil {
			t.Error(err)
		}
	}()
	send := func(partition int32) uint64 {
		v := l.producer.Send(partition)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sent[uint64(v)] = sentAt{time.Now(), partition}
		return uint64(v)
	}
	began := time.Now()
	for partition := range int32(partitions) {
		if l.ackedSince(began) {
			t.Fatalf("acknowledged before partition %d is", partition)
		}
		outcome(send(partition), 0, nil)
	}
	if !l.ackedSince(began) || l.ackedSince(time.Now()) {
		t.Error("the records do not count from the time at which they were sent")
	}
	l.mark()
	late := send(3)
	for partition := range int32(partitions) {
		if partition != 3 {
			outcome(send(partition), 1, nil)
		}
	}
	before := l.longest
	l.last[3] = l.last[3].Add(-time.Hour)
	outcome(late, 1, nil)
	if before >= time.Hour || l.longest < time.Hour {
		t.Errorf("longest gap %v, then %v", before, l.longest)
	}
	outcome(send(0), -1, errors.New("given up"))
	if l.failed != 1 || l.firstErr != "given up" || l.acked != 2*partitions {
		t.Errorf("%d failed, %q, %d acknowledged", l.failed, l.firstErr, l.acked)
	}
}

func TestAResultHasTheMedianAndTheWorstOfAllTimes(t *testing.T) {
	r := &result{}
	for _, seconds := range []time.Duration{3, 1, 9, 2, 4} {
		r.add(&load{longest: seconds * time.Second, acked: 10, lost: 1}, &trial{takeOvers: 2, led: seconds * time.Second})
	}
	if r.Median != 3 || r.Worst != 9 || r.Acked != 50 || r.Lost != 5 || len(r.TakeOvers) != 5 || len(r.Led) != 5 {
		t.Errorf("got %+v", r)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"--kills", "0"}, {"--only", "("}, {"more"}, {"--rate", "-1"}} {
		if code, err := run(context.Background(), args, io.Discard); code != 2 || err == nil {
			t.Errorf("%v: code %d, %v", args, code, err)
		}
	}
}

// One time of one row, with the family that needs nothing installed.
func TestAKillIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: run without -short")
	}
	if _, err := miniod.Find(); errors.Is(err, miniod.ErrNoBinary) {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "results.json")
	var out bytes.Buffer
	code, err := run(t.Context(), []string{"--varve", testenv.VarveBinary(t), "--kills", "1", "--only", "kill -9 of the controller$", "--clients", "franz-go",
		"--json", file}, &out)
	t.Log(out.String())
	if code != 0 || err != nil {
		t.Fatalf("exit code %d, %v", code, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Acked < 100 || results[0].Worst <= 0 || len(results[0].Led) != 1 || results[0].TakeOvers[0] < 1 {
		t.Errorf("the row proves nothing: %s", text)
	}
}
