package wal_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

func noon() time.Time { return time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC) }

func TestLogsAreFoundOldestFirst(t *testing.T) {
	d := disk(t, nil)
	opt := options(d)
	for _, id := range []byte{9, 1, 200, 4} {
		opt.Incarnation = segment.ID{id}
		l := mustOpen(t, opt)
		appendNext(t, l, opt.Incarnation, 0, int(id))
		mustClose(t, l)
	}
	if id, ok, err := wal.Latest(opt); id != (segment.ID{4}) || !ok || err != nil {
		t.Errorf("Latest = %s, %v, %v", id, ok, err)
	}
	opt.Incarnation = segment.ID{77}
	found, err := wal.Scan(opt)
	if err != nil || len(found) != 4 {
		t.Fatalf("Scan = %v, %v", found, err)
	}
	for i, id := range []byte{9, 1, 200, 4} {
		if err := checkRead(found[i], 1, uint64(id)); err != nil || found[i].ID != (segment.ID{id}) {
			t.Errorf("log %d is %s: %v", i, found[i].ID, err)
		}
	}
}

func TestNoLogIsTheLatestOfAnEmptyFolder(t *testing.T) {
	opt := options(disk(t, nil))
	latest := func() bool {
		_, ok, err := wal.Latest(opt)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if latest() {
		t.Error("a log in a folder that is missing")
	}
	mustClose(t, mustOpen(t, opt))
	if !latest() {
		t.Error("the log is not found")
	}
	later := opt
	later.Incarnation[0]++
	if _, err := scanOne(t, later).SetAside("why"); err != nil {
		t.Fatal(err)
	}
	if latest() {
		t.Error("a log that was set aside is the latest")
	}
}

func TestLogSetAsideIsListedWithItsReason(t *testing.T) {
	d, last := manyFiles(t)
	opt := next(options(nil), d)
	opt.Now = noon
	if list, err := wal.Aside(opt); len(list) != 0 || err != nil {
		t.Errorf("Aside = %v, %v", list, err)
	}
	path, err := scanOne(t, opt).SetAside("another node took over")
	if err != nil {
		t.Fatal(err)
	}
	if want := dir + "/aside/20310506T120000Z-" + (segment.ID{3}).String(); path != want {
		t.Errorf("set aside as %s, want %s", path, want)
	}
	img := d.Image(crashfs.KeepNone)
	opt.FS = img
	if found, err := wal.Scan(opt); len(found) != 0 || err != nil {
		t.Errorf("Scan = %v, %v", found, err)
	}
	list, err := wal.Aside(opt)
	if err != nil || len(list) != 1 {
		t.Fatalf("Aside = %v, %v", list, err)
	}
	got := list[0]
	if got.Path != path || got.Reason != "another node took over" || !got.Time.Equal(noon()) || got.Incarnation != (segment.ID{3}) || got.Err != nil {
		t.Errorf("Aside = %+v", got)
	}
	if err := checkRead(got.Log, 1, last); err != nil {
		t.Error(err)
	}
	names, err := img.ReadDir(path)
	if err != nil || strings.Contains(strings.Join(names, " "), ".spare") {
		t.Errorf("set aside were %v, %v", names, err)
	}
}

// A crash may come in the middle of setting a log aside or removing it. The log is
// then whole, at its old place or its new one, or gone if it was to be removed.
// Trying again works.
func TestSetAsideAndRemoveAreOneStep(t *testing.T) {
	for name, do := range map[string]func(*wal.Incarnation) error{
		"aside":  func(inc *wal.Incarnation) error { _, err := inc.SetAside("why"); return err },
		"remove": func(inc *wal.Incarnation) error { return inc.Remove() },
	} {
		t.Run(name, func(t *testing.T) {
			seed := seeded.Seed(t)
			rng := rand.New(rand.NewPCG(seed, 0))
			base, last := manyFiles(t)
			crashes := 0
			var armed *crashfs.FS
			armed = base.With(func(crashfs.Op) error {
				for _, pick := range []crashfs.Pick{crashfs.KeepNone, crashfs.KeepAll, crashfs.KeepFirst(1), crashfs.KeepFirst(2), rng.IntN, rng.IntN} {
					img := armed.Image(pick)
					checkOneStep(t, img, last, name, do)
					crashes++
				}
				return nil
			})
			opt := next(options(nil), armed)
			opt.Now = noon
			found, err := wal.Scan(opt)
			if err != nil || len(found) != 1 {
				t.Fatal(found, err)
			}
			if err := do(found[0]); err != nil {
				t.Fatal(err)
			}
			if crashes < 20 {
				t.Errorf("only %d crashes", crashes)
			}
		})
	}
}

func checkOneStep(t *testing.T, img *crashfs.FS, last uint64, name string, do func(*wal.Incarnation) error) {
	t.Helper()
	opt := next(options(nil), img)
	opt.Now = noon
	found, err := wal.Scan(opt)
	if err != nil {
		t.Fatal(err)
	}
	aside, err := wal.Aside(opt)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case len(found) == 1 && len(aside) == 0:
		if err := checkRead(found[0], 1, last); err != nil {
			t.Fatal(err)
		}
		if err := do(found[0]); err != nil {
			t.Fatal(err)
		}
	case len(found) == 0 && len(aside) == 1 && name == "aside":
		if err := errors.Join(aside[0].Err, checkRead(aside[0].Log, 1, last)); err != nil || aside[0].Reason != "why" {
			t.Fatal(aside[0], err)
		}
	case len(found) == 0 && len(aside) == 0 && name == "remove":
	default:
		t.Fatalf("%d logs found and %d aside", len(found), len(aside))
	}
	l := mustOpen(t, opt) // finishes the removal
	mustClose(t, l)
	names, err := img.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".dead") {
			t.Fatalf("%s was left", n)
		}
	}
}

func TestDamagedLogCanBeSetAsideAndListed(t *testing.T) {
	d, _ := manyFiles(t)
	if err := d.Corrupt(filePath(1), flip(offsetOf(10)+60)); err != nil {
		t.Fatal(err)
	}
	opt := next(options(nil), d)
	if _, err := scanOne(t, opt).SetAside("damaged"); err != nil {
		t.Fatal(err)
	}
	list, err := wal.Aside(opt)
	if err != nil || len(list) != 1 || list[0].Err != nil || list[0].Log.Damage == nil || list[0].Log.Records() != 9 {
		t.Fatalf("Aside = %+v, %v", list, err)
	}
}

// After a crash in the middle of deleting it, a log set aside is there whole or gone.
func TestDeletingWhatWasSetAsideIsOneStep(t *testing.T) {
	base, last := manyFiles(t)
	opt := next(options(nil), base)
	opt.Now = noon
	if _, err := scanOne(t, opt).SetAside("why"); err != nil {
		t.Fatal(err)
	}
	logs, err := wal.AsideFolders(opt)
	if err != nil || len(logs) != 1 || logs[0].Missing != -1 || !logs[0].Exported.IsZero() {
		t.Fatalf("%+v, %v", logs, err)
	}
	var armed *crashfs.FS
	whole, gone := 0, 0
	armed = base.With(func(crashfs.Op) error {
		for _, pick := range []crashfs.Pick{crashfs.KeepNone, crashfs.KeepAll} {
			after := opt
			after.FS = armed.Image(pick)
			found, err := wal.Aside(after)
			switch {
			case err != nil || len(found) > 1:
				t.Fatal(found, err)
			case len(found) == 0:
				gone++
			case found[0].Err != nil || found[0].Log.Damage != nil || found[0].Log.LastLSN != last:
				t.Errorf("found in part: %+v", found[0])
			default:
				whole++
			}
		}
		return nil
	})
	opt.FS = armed
	for _, note := range []func() error{
		func() error { return wal.NoteMissing(opt, logs[0], 5) },
		func() error { return wal.NoteExported(opt, logs[0]) },
	} {
		if err := note(); err != nil {
			t.Fatal(err)
		}
	}
	noted, err := wal.AsideFolders(opt)
	if err != nil || noted[0].Missing != 5 || !noted[0].Exported.Equal(noon()) || noted[0].Reason != "why" {
		t.Errorf("noted %+v, %v", noted, err)
	}
	if err := wal.RemoveAside(opt, logs[0]); err != nil {
		t.Fatal(err)
	}
	if whole == 0 || gone == 0 {
		t.Errorf("%d images with the log, %d without", whole, gone)
	}
}
