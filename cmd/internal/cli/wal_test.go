package cli_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/segment"
)

var walCluster, walTopic = segment.ID{1}, segment.ID{9, 15: 0xff}

// walBatch is a record batch of format version 2 of two records: one of text, one
// whose key is no UTF-8 and whose value is null.
func walBatch(base int64) []byte {
	first := kmsg.Record{Key: fmt.Appendf(nil, "k%d", base), Value: []byte("v"), Headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}}
	second := kmsg.Record{OffsetDelta: 1, TimestampDelta64: 1000, Key: []byte{0xff}}
	var records []byte
	for _, r := range []kmsg.Record{first, second} {
		body := r.AppendTo(nil)[1:] // without the length, which is a zero of one byte
		records = append(binary.AppendVarint(records, int64(len(body))), body...)
	}
	b := kmsg.RecordBatch{
		FirstOffset: base, Length: int32(49 + len(records)), Magic: 2, LastOffsetDelta: 1,
		FirstTimestamp: 1714564800000, MaxTimestamp: 1714564801000,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 2, Records: records,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// walFolder is the data folder of a node that ran some times and is not running.
type walFolder struct {
	path string
	node segment.ID
}

func newWALFolder(t *testing.T) walFolder {
	t.Helper()
	f := walFolder{path: t.TempDir()}
	d := f.lock(t)
	f.node = d.Node()
	if err := d.Bind(walCluster); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// lock opens the folder as a running node does.
func (f walFolder) lock(t *testing.T) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(f.path, segment.NewID)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (f walFolder) options(journal uint32, incarnation byte) wal.Options {
	return wal.Options{
		Dir: datadir.WAL(f.path, journal), Cluster: walCluster, Node: f.node, Incarnation: segment.ID{incarnation},
		Journal: journal, SegmentBytes: 4 << 10, Now: func() time.Time { return time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC) },
	}
}

// write makes a log of n batches of partition 3, and leaves it open.
func (f walFolder) write(t *testing.T, journal uint32, incarnation byte, n int) *wal.Log {
	t.Helper()
	l, err := wal.Open(f.options(journal, incarnation))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f.append(t, l, 3, int64(2*i), walBatch(int64(2*i)))
	}
	return l
}

func (f walFolder) append(t *testing.T, l *wal.Log, partition int32, base int64, b []byte) {
	t.Helper()
	lsn, err := l.Append([]wal.Record{{Topic: walTopic, Index: partition, Epoch: 1, BaseOffset: base, Batch: b}})
	if err != nil {
		t.Fatal(err)
	}
	for l.Sync(lsn); l.SyncedLSN() < lsn; <-l.Synced() {
		if l.Err() != nil {
			t.Fatal(l.Err())
		}
	}
}

// made makes a log of n batches and closes it.
func (f walFolder) made(t *testing.T, journal uint32, incarnation byte, n int) {
	t.Helper()
	f.close(t, f.write(t, journal, incarnation, n))
}

func (f walFolder) close(t *testing.T, l *wal.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// setAside sets the oldest log of a journal aside and returns its folder.
func (f walFolder) setAside(t *testing.T, journal uint32, reason string) string {
	t.Helper()
	found, err := wal.Scan(f.options(journal, 0xee))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	path, err := found[0].SetAside(reason)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// damage flips a bit in the n-th batch of the first file of a log.
func (f walFolder) damage(t *testing.T, dir string, n int) {
	t.Helper()
	path := filepath.Join(dir, "000000000001.wal")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, walBatch(int64(2*n)))
	if at < 0 {
		t.Fatalf("no batch %d in %s", n, path)
	}
	b[at+30] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f walFolder) run(t *testing.T, args ...string) outcome {
	t.Helper()
	before := tree(t, f.path)
	o := command{environ: []string{"VARVE_DATA_DIR=" + f.path}}.run(t, append([]string{"wal"}, args...)...)
	if after := tree(t, f.path); after != before {
		t.Errorf("wal %v changed the folder from\n%s\nto\n%s", args, before, after)
	}
	return o
}

// tree returns the names of all files in a folder, with sizes and times. It
// leaves out files that a node prepares in the background, which it may do at
// any time.
func tree(t *testing.T, path string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(path, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(path, ".spare"), e.Name() == "exported": // the mark of an export
			return nil
		case e.IsDir():
			fmt.Fprintln(&all, path)
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&all, path, info.Size(), info.ModTime())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// listed is a row of `wal list -o json`.
type listed struct {
	Journal                 uint32
	State, Incarnation      string
	Time                    *time.Time
	Batches, Records, Bytes *uint64
	Reason, Damage, Path    string
}

func (f walFolder) list(t *testing.T, code int) []listed {
	t.Helper()
	o := f.run(t, "list", "-o", "json")
	o.expect(t, code)
	var rows []listed
	if err := json.Unmarshal([]byte(o.stdout), &rows); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	return rows
}

func id(b byte) string { return segment.ID{b}.String() }

func is(n *uint64, want uint64) bool { return n != nil && *n == want }

func TestWALListShowsWhatIsAsideAndWhatWaits(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 2, 1, 3)
	f.made(t, 10, 1, 1)
	f.made(t, 2, 5, 40) // several files
	path := f.setAside(t, 2, "another node\nled the journal")
	rows := f.list(t, cli.ExitOK)
	if len(rows) != 3 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	aside, waiting, other := rows[0], rows[1], rows[2]
	if aside.Journal != 2 || aside.State != "aside" || aside.Incarnation != id(1) || aside.Time == nil || aside.Time.Year() != 2031 ||
		!is(aside.Batches, 3) || !is(aside.Records, 6) || aside.Reason != "another node\nled the journal" || aside.Damage != "" || aside.Path != path {
		t.Errorf("set aside: %+v", aside)
	}
	if aside.Bytes == nil || *aside.Bytes < 3*uint64(len(walBatch(0))) {
		t.Errorf("bytes %v", aside.Bytes)
	}
	if waiting.Journal != 2 || waiting.State != "waiting" || waiting.Incarnation != id(5) || waiting.Time != nil || !is(waiting.Records, 80) || waiting.Path != "" {
		t.Errorf("waiting: %+v", waiting)
	}
	if other.Journal != 10 || other.State != "waiting" || !is(other.Batches, 1) {
		t.Errorf("of another journal: %+v", other)
	}
	o := f.run(t, "list")
	o.expect(t, cli.ExitOK, "INCARNATION", "2031-05-06T12:00:00Z", "another node led the journal")
	if lines := strings.Count(o.stdout, "\n"); lines != 4 {
		t.Errorf("%d lines: %s", lines, o.stdout)
	}
}

func TestWALListOfAFolderWithoutLogs(t *testing.T) {
	f := newWALFolder(t)
	if rows := f.list(t, cli.ExitOK); rows == nil || len(rows) != 0 {
		t.Errorf("rows %v", rows)
	}
	f.run(t, "list").expect(t, cli.ExitOK, "JOURNAL")
	f.run(t, "export").expect(t, cli.ExitOK, "no write-ahead log is set aside in "+f.path)
}

func TestWALCommandsNeedADataFolder(t *testing.T) {
	empty := t.TempDir()
	missing := filepath.Join(empty, "missing")
	for _, verb := range []string{"list", "export"} {
		command{}.run(t, "wal", verb, "--data-dir", missing).expect(t, cli.ExitFailure, missing, "no such file", "--data-dir")
		command{}.run(t, "wal", verb, "--data-dir", empty).expect(t, cli.ExitFailure, empty, "no data folder of varve")
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the folder was made")
	}
}

// The write-ahead log does not look into batches, but export must.
func TestWALOfANewerVersionIsNotEmpty(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 1, 1, 1)
	f.made(t, 2, 1, 1)
	path := filepath.Join(f.setAside(t, 1, "why"), "000000000001.wal")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[9] = 2
	binary.BigEndian.PutUint32(b[508:], crc32.Checksum(b[:508], crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	rows := f.list(t, cli.ExitFailure)
	if len(rows) != 2 || rows[0].Batches != nil || rows[0].Records != nil || !strings.Contains(rows[0].Damage, "version 2") || !is(rows[1].Batches, 1) {
		t.Errorf("rows %+v", rows)
	}
	f.run(t, "list").expect(t, cli.ExitFailure, "?", "version 2")
	f.run(t, "export").expect(t, cli.ExitFailure, "nothing of it can be read", "version 2")
}

func TestWALNextToARunningNode(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 1, 1, 1)
	f.made(t, 1, 2, 1)
	f.setAside(t, 1, "why")
	d := f.lock(t)
	l := f.write(t, 1, 3, 1)
	rows := f.list(t, cli.ExitOK)
	if len(rows) != 3 || rows[0].State != "aside" || rows[1].State != "waiting" || rows[2].State != "in use" {
		t.Fatalf("rows %+v", rows)
	}
	if r := rows[2]; r.Incarnation != id(3) || r.Batches != nil || r.Records != nil || r.Bytes != nil {
		t.Errorf("in use: %+v", r)
	}
	f.run(t, "list").expect(t, cli.ExitOK, "in use")
	f.run(t, "export").expect(t, cli.ExitOK, "2 records written")
	f.run(t, "export", "--incarnation", id(3)).expect(t, cli.ExitFailure, "in use", "stop the node")
	f.append(t, l, 3, 2, walBatch(2)) // the node goes on
	f.close(t, l)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if rows = f.list(t, cli.ExitOK); rows[2].State != "waiting" || !is(rows[2].Batches, 2) {
		t.Errorf("after the node has ended: %+v", rows[2])
	}
}

// Logs come and go while nodes start and end. A log is not read while it is
// written, and one that is removed in between is no error.
func TestWALListWhileNodesComeAndGo(t *testing.T) {
	f := newWALFolder(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := byte(1); i < 120 && !t.Failed(); i++ {
			f.oneRun(t, i)
		}
	}()
	seen := map[string]int{}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		f.lookOnce(t, seen)
	}
	t.Logf("saw %v", seen)
	if seen["waiting"] == 0 || seen["in use"] == 0 {
		t.Error("want to have seen logs in either state")
	}
}

// lookOnce lists the logs of oneRun and counts them by state.
func (f walFolder) lookOnce(t *testing.T, seen map[string]int) {
	o := command{}.run(t, "wal", "list", "--data-dir", f.path, "-o", "json")
	if o.code != cli.ExitOK {
		if !strings.Contains(o.stderr, "try again") {
			t.Errorf("code %d: %s", o.code, o.stderr)
		}
		return
	}
	var rows []listed
	if err := json.Unmarshal([]byte(o.stdout), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		seen[r.State]++
		if r.Damage != "" || r.State != "in use" && !is(r.Batches, 20) {
			t.Errorf("row %+v", r)
		}
	}
}

// oneRun is a node that starts, removes the logs of earlier starts, writes 20
// batches and ends. It runs concurrently with the test's goroutine.
func (f walFolder) oneRun(t *testing.T, incarnation byte) {
	d, err := datadir.Open(f.path, segment.NewID)
	if err != nil {
		t.Error(err)
		return
	}
	defer d.Close()
	opt := f.options(1, incarnation)
	older, err := wal.Scan(opt)
	if err != nil {
		t.Error(err)
		return
	}
	l, err := wal.Open(opt)
	if err != nil {
		t.Error(err)
		return
	}
	for _, o := range older {
		if err := o.Remove(); err != nil {
			t.Error(err)
		}
	}
	var last uint64
	for i := range 20 {
		b := walBatch(int64(2 * i))
		if last, err = l.Append([]wal.Record{{Topic: walTopic, Epoch: 1, BaseOffset: int64(2 * i), Batch: b}}); err != nil {
			t.Error(err)
			return
		}
	}
	l.Sync(last)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
