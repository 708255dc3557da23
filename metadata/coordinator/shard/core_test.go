package shard

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/shard/shardtest"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// script is a World that notes all requests; the test gives the answers.
type script struct {
	t         *testing.T
	core      *Core
	machine   *shardtest.Registers
	now       time.Time
	sent      []sent
	end       int64 // of the committed records
	appendEnd int64
	scans     []int64
	removed   [2]int64 // records, and tombstones, below these offsets may be missing
	published []Snapshot
	troubles  []error
	log       []string // of answers
}

type sent struct {
	token uint64
	data  []byte
	h     batch.Header
}

func (w *script) Now() time.Time                          { return w.now }
func (w *script) TopicGone(name string, id [16]byte) bool { return name == "gone" }
func (w *script) AppendEnd() (int64, bool)                { return w.appendEnd, true }
func (w *script) Committed() (int64, bool)                { return w.end, true }
func (w *script) Scan(from int64)                         { w.scans = append(w.scans, from) }
func (w *script) Compacted() (int64, int64)               { return w.removed[0], w.removed[1] }
func (w *script) Publish(snapshot Snapshot)               { w.published = append(w.published, snapshot) }
func (w *script) Trouble(err error)                       { w.troubles = append(w.troubles, err) }
func (w *script) Append(token uint64, data []byte, h batch.Header) {
	w.sent = append(w.sent, sent{token, data, h})
}

func newScript(t *testing.T) *script {
	w := &script{t: t, machine: shardtest.New(), now: time.UnixMilli(1_700_000_000_000)}
	core, err := NewCore(w.machine, Snapshot{}, w)
	if err != nil {
		t.Fatal(err)
	}
	w.core = core
	core.Start()
	return w
}

// lead lets it load an empty partition.
func lead(t *testing.T) *script {
	w := newScript(t)
	w.core.ScanDone(0, nil)
	return w
}

func (w *script) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// set asks for a turn that appends a number.
func (w *script) set(key string, value, pad int) {
	w.core.Do(func(out coordinator.Out, err error) {
		if err != nil {
			w.note("%s=%d refused: %v", key, value, err)
			return
		}
		w.machine.Set(out, key, value, pad, func(err error) { w.note("%s=%d: %v, now %d", key, value, err, w.machine.Get(key)) })
	})
}

func (w *script) get(key string) {
	w.core.Read(func(_ coordinator.Out, err error) { w.note("%s: %d, %v", key, w.machine.Get(key), err) })
}

// commit answers the oldest append at an offset.
func (w *script) commit(base int64) {
	s := w.sent[0]
	w.sent = w.sent[1:]
	w.end = max(w.end, base+int64(s.h.Records))
	w.appendEnd = max(w.appendEnd, w.end)
	w.core.Appended(s.token, base, nil)
}

// expect compares the answers since the last call.
func (w *script) expect(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.log, want) {
		w.t.Errorf("answers:\n%s\nwant:\n%s", strings.Join(w.log, "\n"), strings.Join(want, "\n"))
	}
	w.log = nil
}

// stored is a batch of one record as the partition has it.
func stored(base int64, key string, value int) []byte {
	return batchtest.Build(batchtest.Spec{BaseOffset: base, Records: []batchtest.Record{
		{Key: []byte(key), Value: fmt.Appendf(nil, "%d ", value), Timestamp: 1_700_000_000_000},
	}})
}

func TestRequestsAreRefusedUntilThePartitionIsRead(t *testing.T) {
	w := newScript(t)
	w.set("a", 1, 0)
	w.get("a")
	if err := w.core.Scanned(append(stored(0, "a", 7), stored(1, "b", 3)...)); err != nil {
		t.Fatal(err)
	}
	w.set("a", 2, 0)
	w.core.ScanDone(2, nil)
	w.core.Do(func(coordinator.Out, error) { w.note("a is %d", w.machine.Get("a")) })
	w.expect("a=1 refused: the coordinator is loading its state", "a: 0, the coordinator is loading its state",
		"a=2 refused: the coordinator is loading its state", "a is 7")
	if w.core.Applied() != 2 || w.core.Phase() != Leading {
		t.Errorf("applied %d in phase %d", w.core.Applied(), w.core.Phase())
	}
}

func TestDeletedTopicsAreReportedOnceItLeads(t *testing.T) {
	w := newScript(t)
	first, second, third := [16]byte{1}, [16]byte{2}, [16]byte{3}
	w.core.TopicsDeleted([][16]byte{first})
	w.core.TopicsDeleted([][16]byte{second})
	if len(w.machine.Deleted) > 0 {
		t.Error("reported while it loads")
	}
	w.core.ScanDone(0, nil)
	if want := [][16]byte{first, second}; !slices.Equal(w.machine.Deleted, want) {
		t.Errorf("once it leads: %v, want %v", w.machine.Deleted, want)
	}
	w.core.TopicsDeleted([][16]byte{third})
	w.core.End(coordinator.ErrNotCoordinator)
	w.core.TopicsDeleted([][16]byte{first}) // without effect: the Machine would panic
	if want := [][16]byte{first, second, third}; !slices.Equal(w.machine.Deleted, want) {
		t.Errorf("at the end: %v, want %v", w.machine.Deleted, want)
	}
}

func TestTurnsAnswerQuestionsAboutTopics(t *testing.T) {
	w := lead(t)
	w.core.Do(func(out coordinator.Out, _ error) {
		if !out.TopicGone("gone", [16]byte{}) || out.TopicGone("there", [16]byte{}) {
			t.Error("the answer is not that of the World")
		}
	})
}

func TestLoadGoesOnWhereItFailed(t *testing.T) {
	w := newScript(t)
	if err := w.core.Scanned(stored(0, "a", 7)); err != nil {
		t.Fatal(err)
	}
	w.core.ScanDone(0, errors.New("away"))
	w.core.tick()
	if len(w.scans) != 1 || len(w.troubles) != 1 || w.core.Phase() != Loading {
		t.Fatalf("scans %v, troubles %v, phase %d", w.scans, w.troubles, w.core.Phase())
	}
	w.now = w.core.next()
	w.core.tick()
	if !slices.Equal(w.scans, []int64{0, 1}) {
		t.Errorf("scans from %v", w.scans)
	}
}

func TestTurnsOfABurstShareABatch(t *testing.T) {
	w := lead(t)
	w.set("a", 1, 0)
	w.set("b", 1, 0)
	w.core.flush()
	w.set("a", 2, 0)
	w.core.flush()
	if len(w.sent) != 2 || w.sent[0].h.Records != 2 || w.sent[1].h.Records != 1 {
		t.Fatalf("sent %+v", w.sent)
	}
	w.expect()
	w.commit(0)
	w.expect("a=1: <nil>, now 1", "b=1: <nil>, now 1")
	w.commit(2)
	w.expect("a=2: <nil>, now 2")
}

func TestLargeBurstIsSplit(t *testing.T) {
	w := lead(t)
	for i := range 5 {
		w.set("a", i+1, 300<<10)
	}
	w.core.flush()
	var records []int32
	for _, s := range w.sent {
		records = append(records, s.h.Records)
	}
	if !slices.Equal(records, []int32{3, 2}) {
		t.Errorf("batches of %v records", records)
	}
}

func TestAppendThatNoBatchCarriesIsRefused(t *testing.T) {
	w := lead(t)
	w.set("a", 1, maxAppendBytes)
	w.core.Do(func(out coordinator.Out, _ error) {
		out.Append(nil, func(_ coordinator.Out, err error) { w.note("nothing: %v", err) })
	})
	w.core.flush()
	if len(w.sent) > 0 || len(w.log) != 2 || !strings.Contains(w.log[0], coordinator.ErrTooLarge.Error()) || w.log[1] != "nothing: <nil>" {
		t.Errorf("sent %d, answers %q", len(w.sent), w.log)
	}
}

func TestRecordOfUnknownOutcomeIsReadBeforeTheNext(t *testing.T) {
	w := lead(t)
	w.set("a", 1, 0)
	w.core.flush()
	w.appendEnd = 1
	w.core.Appended(w.sent[0].token, 0, coordinator.ErrUnavailable)
	w.sent = nil
	w.expect("a=1: the coordinator cannot reach the bucket, now 0")
	w.set("a", 2, 0)
	w.core.flush()
	w.commit(1)
	w.expect()
	if !slices.Equal(w.scans, []int64{0, 0}) {
		t.Fatalf("scans from %v, want one at the start and one now", w.scans)
	}
	if err := w.core.Scanned(append(stored(0, "a", 1), stored(1, "a", 2)...)); err != nil {
		t.Fatal(err)
	}
	w.core.ScanDone(2, nil)
	w.expect("a=2: <nil>, now 2")
}

func TestUnknownOutcomeIsFoundOutWithoutBeingAskedFor(t *testing.T) {
	w := lead(t)
	w.set("a", 1, 0)
	w.core.flush()
	w.appendEnd = 1
	w.core.Appended(w.sent[0].token, 0, coordinator.ErrUnavailable)
	w.core.ScanDone(0, nil) // not committed yet
	for range 3 {
		w.now = w.core.next()
		w.core.tick()
		w.core.ScanDone(0, errors.New("away"))
	}
	if len(w.scans) != 5 {
		t.Errorf("%d scans", len(w.scans))
	}
	w.now = w.core.next()
	w.core.tick()
	if err := w.core.Scanned(stored(0, "a", 1)); err != nil {
		t.Fatal(err)
	}
	w.core.ScanDone(1, nil)
	if w.machine.Get("a") != 1 || !w.core.next().IsZero() {
		t.Errorf("a is %d, something is due at %v", w.machine.Get("a"), w.core.next())
	}
}

func TestReadWaitsForTheRecordsThatAreCommitted(t *testing.T) {
	w := lead(t)
	w.get("a")
	w.expect("a: 0, <nil>")
	w.end = 1
	w.get("a")
	w.expect()
	if err := w.core.Scanned(stored(0, "a", 5)); err != nil {
		t.Fatal(err)
	}
	w.expect("a: 5, <nil>")
	w.core.ScanDone(1, nil)
}

func TestReadDoesNotWaitForEver(t *testing.T) {
	w := lead(t)
	w.end = 1
	w.get("a")
	if at := w.core.next(); !at.Equal(w.now.Add(readPatience)) {
		t.Errorf("due at %v", at)
	}
	w.now = w.core.next()
	w.core.tick()
	w.expect("a: 0, the coordinator cannot reach the bucket: the committed records could not be read in time")
}

func TestRecordThatCannotBeAppliedEndsItWithItsPosition(t *testing.T) {
	w := lead(t)
	w.set("a", 1, 0)
	w.core.flush()
	w.set("b", 1, 0)
	w.end = 2 // another leader wrote records
	w.get("a")
	w.core.Appended(w.sent[0].token, 2, nil)
	if err := w.core.Scanned(stored(0, "c", 1)); err != nil {
		t.Fatal(err)
	}
	err := w.core.Scanned(batchtest.Build(batchtest.Spec{BaseOffset: 1, Records: batchtest.Values(1, "nonsense")}))
	if err == nil || w.core.Phase() != Ended {
		t.Fatalf("phase %d, %v", w.core.Phase(), err)
	}
	if err := w.core.Failed(); !errors.Is(err, coordinator.ErrNotCoordinator) || !strings.Contains(err.Error(), "record at offset 1") {
		t.Errorf("failed: %v", err)
	}
	for _, line := range w.log {
		if !strings.Contains(line, coordinator.ErrNotCoordinator.Error()) {
			t.Errorf("answer %q", line)
		}
	}
	if len(w.log) != 3 {
		t.Errorf("answers %q", w.log)
	}
}

func TestMissingRecordsEndIt(t *testing.T) {
	for name, scan := range map[string]func(*Core){
		"a gap":          func(c *Core) { _ = c.Scanned(stored(3, "a", 1)) },
		"a short answer": func(c *Core) { c.ScanDone(3, nil) },
	} {
		w := newScript(t)
		scan(w.core)
		if err := w.core.Failed(); err == nil || !strings.Contains(err.Error(), "records from offset 0 to 2 are missing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEndAnswersEveryCaller(t *testing.T) {
	w := lead(t)
	w.set("a", 1, 0)
	w.core.flush()
	w.set("a", 2, 0)
	w.end = 1
	w.get("a")
	w.core.End(coordinator.ErrNotCoordinator)
	w.set("a", 3, 0)
	w.get("a")
	w.core.Appended(w.sent[0].token, 0, nil)
	const not = "this node is not the coordinator"
	w.expect("a=1: "+not+", now 0", "a: 0, "+not, "a=2: "+not+", now 0", "a=3 refused: "+not, "a: 0, "+not)
	if w.core.Failed() != nil {
		t.Error(w.core.Failed())
	}
}

func TestSnapshotsComeWithTheBytesApplied(t *testing.T) {
	w := lead(t)
	for i := range 100 {
		w.set("a", i+1, 10<<10)
		w.core.flush()
		w.commit(int64(i))
	}
	if n := len(w.published); n < 10 || n > 20 {
		t.Fatalf("%d snapshots of 1 MiB", n)
	}
	last := w.published[len(w.published)-1]
	m := shardtest.New()
	core, err := NewCore(m, last, w)
	if err != nil {
		t.Fatal(err)
	}
	if core.Applied() != last.Offset || m.Get("a") != int(last.Offset) || !bytes.Equal(m.Snapshot(), last.State) {
		t.Errorf("restored at %d: %s", core.Applied(), m.Snapshot())
	}
}
