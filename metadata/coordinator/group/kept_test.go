package group

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/varvelog/varve/metadata/coordinator"
)

func testConfig() Config {
	c := Default()
	n := 0
	c.NewID = func() string { n++; return fmt.Sprintf("id-%d", n) }
	c.Memory = NewMemory(1 << 30)
	return c
}

func newMachine(t testing.TB, config Config) *Machine {
	t.Helper()
	m, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func applyAll(t testing.TB, m *Machine, records ...coordinator.Record) {
	t.Helper()
	for i, r := range records {
		if err := m.Apply(coordinator.Position{Offset: int64(i)}, r); err != nil {
			t.Fatal(err)
		}
	}
}

func ptr(s string) *string { return &s }

// sampleRecords say something of every kind about two groups.
func sampleRecords() []coordinator.Record {
	return []coordinator.Record{
		offsetRecord("b", partition{"events", 1}, Offset{TopicID: [16]byte{1}, Offset: 42, LeaderEpoch: 3, Metadata: "m", CommitMs: 1000, ExpireMs: -1}),
		offsetRecord("b", partition{"events", 0}, Offset{Offset: 7, LeaderEpoch: -1, CommitMs: 1001, ExpireMs: 5000}),
		metadataRecord("a", &metadata{
			protocolType: "consumer", generation: 5, protocol: ptr("range"), leader: ptr("m1"), sinceMs: 999,
			members: []keptMember{
				{id: "m1", clientID: "c", clientHost: "/1.2.3.4", rebalanceMs: 60_000, sessionMs: 10_000, subscription: []byte{1}, assignment: []byte{2, 3}},
				{id: "m2", instance: ptr("i"), rebalanceMs: 1, sessionMs: 2},
			},
		}),
		metadataRecord("c", &metadata{generation: 1, sinceMs: -1}),
		offsetRecord("c", partition{"gone", 0}, Offset{}),
		offsetTombstone("c", partition{"gone", 0}),
		metadataTombstone("c"),
	}
}

// TestSnapshotFormat pins the bytes of a snapshot. They are in buckets: a change
// needs a new version, and code that reads the old one.
func TestSnapshotFormat(t *testing.T) {
	m := newMachine(t, testConfig())
	applyAll(t, m, sampleRecords()...)
	const want = "01" + "00000002" +
		"0001" + "61" + "01" +
		"0008" + "636f6e73756d6572" + "00000005" + "01" + "0005" + "72616e6765" + "01" + "0002" + "6d31" + "00000000000003e7" +
		"00000002" +
		"0002" + "6d31" + "00" + "0001" + "63" + "0008" + "2f312e322e332e34" + "0000ea60" + "00002710" + "00000001" + "01" + "00000002" + "0203" +
		"0002" + "6d32" + "01" + "0001" + "69" + "0000" + "0000" + "00000001" + "00000002" + "00000000" + "00000000" +
		"00000000" +
		"0001" + "62" + "00" + "00000002" +
		"0006" + "6576656e7473" + "00000000" + "00000000000000000000000000000000" + "0000000000000007" + "ffffffff" + "0000" + "00000000000003e9" + "0000000000001388" +
		"0006" + "6576656e7473" + "00000001" + "01000000000000000000000000000000" + "000000000000002a" + "00000003" + "0001" + "6d" + "00000000000003e8" + "ffffffffffffffff"
	if got := hex.EncodeToString(m.Snapshot()); got != want {
		t.Errorf("snapshot is\n%s, want\n%s", got, want)
	}
}

// TestRecordFormats pins the bytes written to the topic: Kafka's formats.
func TestRecordFormats(t *testing.T) {
	for i, want := range []struct{ key, value string }{
		{"0001" + "0001" + "62" + "0006" + "6576656e7473" + "00000001",
			"0004" + "000000000000002a" + "00000003" + "02" + "6d" + "00000000000003e8" + "01" + "00" + "10" + "01000000000000000000000000000000"},
		{"0001" + "0001" + "62" + "0006" + "6576656e7473" + "00000000",
			"0001" + "0000000000000007" + "0000" + "00000000000003e9" + "0000000000001388"},
		{"0002" + "0001" + "61",
			"0003" + "0008" + "636f6e73756d6572" + "00000005" + "0005" + "72616e6765" + "0002" + "6d31" + "00000000000003e7" + "00000002" +
				"0002" + "6d31" + "ffff" + "0001" + "63" + "0008" + "2f312e322e332e34" + "0000ea60" + "00002710" + "00000001" + "01" + "00000002" + "0203" +
				"0002" + "6d32" + "0001" + "69" + "0000" + "0000" + "00000001" + "00000002" + "00000000" + "00000000"},
	} {
		r := sampleRecords()[i]
		if key, value := hex.EncodeToString(r.Key), hex.EncodeToString(r.Value); key != want.key || value != want.value {
			t.Errorf("record %d is\n%s %s, want\n%s %s", i, key, value, want.key, want.value)
		}
	}
}

func TestRestoreGivesTheSameState(t *testing.T) {
	m, again := newMachine(t, testConfig()), newMachine(t, testConfig())
	applyAll(t, m, sampleRecords()...)
	if err := again.Restore(m.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Snapshot(), again.Snapshot()) {
		t.Errorf("restored state is\n%x, want\n%x", again.Snapshot(), m.Snapshot())
	}
	applyAll(t, again, offsetTombstone("b", partition{"events", 0}), offsetTombstone("b", partition{"events", 1}), metadataTombstone("a"))
	if empty := newMachine(t, testConfig()); !bytes.Equal(again.Snapshot(), empty.Snapshot()) {
		t.Errorf("state without records is %x", again.Snapshot())
	}
}

func TestDamagedSnapshotsAreRefusedAndChangeNothing(t *testing.T) {
	m := newMachine(t, testConfig())
	applyAll(t, m, sampleRecords()...)
	good := m.Snapshot()
	for cut := range good {
		if err := m.Restore(good[:cut]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", cut, len(good), err)
		}
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, test := range map[string]struct {
		snapshot []byte
		want     error
	}{
		"newer version":   {change(0, 2), ErrTooNew},
		"version zero":    {change(0, 0), ErrTooNew},
		"group order":     {change(7, 'z'), ErrCorrupt},
		"flag":            {change(8, 2), ErrCorrupt},
		"bytes left over": {append(bytes.Clone(good), 0), ErrCorrupt},
		"no such group":   {[]byte{1, 0, 0, 0, 1, 0, 1, 'x', 0, 0, 0, 0, 0}, ErrCorrupt},
	} {
		if err := m.Restore(test.snapshot); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if !bytes.Equal(m.Snapshot(), good) {
		t.Error("a refused snapshot changed the state")
	}
}

func TestRecordsThatCannotBeUnderstoodAreRefused(t *testing.T) {
	good := sampleRecords()[0]
	for name, test := range map[string]struct {
		record coordinator.Record
		want   error
	}{
		"no key":                {coordinator.Record{Value: good.Value}, ErrCorrupt},
		"key of another kind":   {coordinator.Record{Key: []byte{0, 3, 0, 1, 'a'}}, ErrTooNew},
		"key cut short":         {coordinator.Record{Key: good.Key[:5], Value: good.Value}, ErrCorrupt},
		"empty value":           {coordinator.Record{Key: good.Key, Value: []byte{}}, ErrCorrupt},
		"value of version 5":    {coordinator.Record{Key: good.Key, Value: []byte{0, 5}}, ErrTooNew},
		"value cut short":       {coordinator.Record{Key: good.Key, Value: good.Value[:8]}, ErrCorrupt},
		"metadata cut short":    {coordinator.Record{Key: metadataKey("g"), Value: []byte{0, 3, 0}}, ErrCorrupt},
		"metadata of version 9": {coordinator.Record{Key: metadataKey("g"), Value: []byte{0, 9}}, ErrTooNew},
	} {
		m := newMachine(t, testConfig())
		if err := m.Apply(coordinator.Position{}, test.record); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func FuzzRestore(f *testing.F) {
	m := newMachine(f, testConfig())
	applyAll(f, m, sampleRecords()...)
	f.Add(m.Snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMachine(t, testConfig())
		if m.Restore(b) == nil && !bytes.Equal(m.Snapshot(), b) {
			t.Errorf("snapshot %x is restored to %x", b, m.Snapshot())
		}
	})
}

func FuzzApply(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m, again := newMachine(t, testConfig()), newMachine(t, testConfig())
		if m.Apply(coordinator.Position{}, coordinator.Record{Key: key, Value: value}) != nil {
			return
		}
		if err := again.Restore(m.Snapshot()); err != nil {
			t.Error(err)
		}
	})
}
