package wal_test

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/tiering/segment"
)

// life is the expected state of one log: records 1 to appended exist, 1 to
// synced are safe, 1 to released may be gone.
type life struct {
	id                         segment.ID
	appended, synced, released uint64
}

// machine is a node that appends, dies and starts again.
type machine struct {
	disk *crashfs.FS
	log  *wal.Log
	now  life
	old  []life // logs still on disk, oldest first
}

func (m *machine) start(t *rapid.T, disk *crashfs.FS, id byte) {
	m.disk = disk
	m.now = life{id: segment.ID{id}}
	opt := options(disk)
	opt.Incarnation = m.now.id
	opt.SegmentBytes = 12 << 10
	l, err := wal.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	m.log = l
}

// recover checks every older log on a disk, and removes some.
func (m *machine) recover(t *rapid.T, disk *crashfs.FS) {
	opt := options(disk)
	opt.Incarnation = segment.ID{255}
	found, err := wal.Scan(opt)
	if err != nil || len(found) != len(m.old) {
		t.Fatalf("found %d logs, want %d; %v", len(found), len(m.old), err)
	}
	var kept []life
	for i, inc := range found {
		want := m.old[i]
		if inc.Damage != nil || inc.ID != want.id || inc.LastLSN < want.synced || inc.LastLSN > want.appended || inc.FirstLSN > want.released+1 {
			t.Fatalf("found %+v, want %+v", inc, want)
		}
		if err := checkRead(inc, inc.FirstLSN, inc.LastLSN); err != nil {
			t.Fatal(err)
		}
		want.synced = inc.LastLSN // a record that was read once is read again
		switch rapid.IntRange(0, 3).Draw(t, "keep") {
		case 0:
			err = inc.Remove()
		case 1:
			_, err = inc.SetAside("model")
		default:
			kept = append(kept, want)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m.old = kept
}

func TestLogFollowsTheModelThroughCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{}
		d := disk(t, nil)
		lives := byte(1)
		m.start(t, d, lives)
		defer func() { m.log.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				n := rapid.IntRange(1, 15).Draw(t, "n")
				recs := make([]wal.Record, n)
				for i := range recs {
					recs[i] = record(m.now.id, m.now.appended+1+uint64(i))
				}
				last, err := m.log.Append(recs)
				m.now.appended += uint64(n)
				if err != nil || last != m.now.appended {
					t.Fatal(last, err)
				}
			},
			"sync": func(t *rapid.T) {
				to := rapid.Uint64Range(0, m.now.appended).Draw(t, "to")
				if err := waitSynced(m.log, to); err != nil {
					t.Fatal(err)
				}
			},
			"release": func(t *rapid.T) {
				m.now.released = max(m.now.released, rapid.Uint64Range(0, m.now.appended).Draw(t, "to"))
				m.log.Release(m.now.released)
			},
			"power failure": func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				m.now.synced = m.log.SyncedLSN()
				img := m.disk.Image(rng.IntN)
				m.die(t)
				m.recover(t, img)
				lives++
				m.start(t, img, lives)
			},
			"restart": func(t *rapid.T) {
				m.now.synced = m.now.appended
				m.die(t)
				m.recover(t, m.disk)
				lives++
				m.start(t, m.disk, lives)
			},
			"": func(t *rapid.T) {
				if n := m.log.SyncedLSN(); n < m.now.synced || n > m.now.appended {
					t.Fatalf("SyncedLSN = %d, was %d, appended %d", n, m.now.synced, m.now.appended)
				}
				m.now.synced = m.log.SyncedLSN()
			},
		})
	})
}

// die ends the running log, after its image, if any, was taken.
func (m *machine) die(t *rapid.T) {
	if err := m.log.Close(); err != nil {
		t.Fatal(err)
	}
	m.old = append(m.old, m.now)
}
