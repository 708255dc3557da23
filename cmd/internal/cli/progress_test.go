package cli

import (
	"bytes"
	"testing"
	"time"
)

func TestProgressHasRateAndTimeLeft(t *testing.T) {
	for name, tc := range map[string]struct {
		progress progress
		want     string
	}{
		"nothing known":      {progress{}, "10s so far"},
		"words alone":        {progress{doing: "listing"}, "listing, 10s so far"},
		"things without end": {progress{unit: "records", done: 5000}, "5,000 records, 500 records/s, 10s so far"},
		"some of the things": {progress{unit: "topics", done: 10, total: 40}, "10 of 40 topics, 1 topics/s, 30s left"},
		"bytes are further": {progress{unit: "objects", done: 10, total: 100, bytes: 50e6, totalBytes: 100e6},
			"10 of 100 objects, 50 MB of 100 MB, 1 objects/s, 5.0 MB/s, 10s left"},
		"all done": {progress{unit: "topics", done: 40, total: 40}, "40 of 40 topics, 4 topics/s, 10s so far"},
	} {
		if got := tc.progress.after(10 * time.Second); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestAMeterWaitsAndKeepsToItsLine(t *testing.T) {
	began := time.Unix(1000, 0)
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	for name, tc := range map[string]struct {
		show, terminal bool
		want           string
	}{
		"not shown":     {false, false, ""},
		"in lines":      {true, false, "varve: x: 2s so far\nvarve: x: 3s so far\n"},
		"on a terminal": {true, true, "varve: x: 2s so far\r\x1b[Kvarve: x: 3s so far\r\x1b[K"},
	} {
		var out bytes.Buffer
		m := &meter{out: &out, name: "x", show: tc.show, terminal: tc.terminal, began: began, read: func() progress { return progress{} }}
		for _, seconds := range []float64{1, 1.9, 2, 2.5, 3} {
			m.tick(at(seconds))
		}
		m.erase()
		m.erase()
		if out.String() != tc.want {
			t.Errorf("%s: got %q, want %q", name, out.String(), tc.want)
		}
	}
}
