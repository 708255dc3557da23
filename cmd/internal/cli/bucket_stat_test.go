package cli_test

import (
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
)

func TestStatCountsBytesAndDollars(t *testing.T) {
	c := command{environ: []string{"VARVE_BUCKET=file://" + smallBucket(t), "VARVE_PRICES=storage=1024"}}
	var s struct {
		Topics []struct {
			Name                                 string
			Bytes, Journal, Shared, Own, Objects int64
		}
		Stored []struct {
			Kind           string
			Objects, Bytes int64
		}
		Objects, Bytes int64
		Dollars        float64 `json:"dollars_month"`
		Prices         struct{ Storage, Get float64 }
	}
	unmarshal(t, c.run(t, "bucket", "stat", "-o", "json"), &s)
	if len(s.Topics) != 1 || s.Topics[0].Name != "events" || s.Topics[0].Bytes == 0 || s.Topics[0].Journal != s.Topics[0].Bytes || s.Topics[0].Objects != 2 {
		t.Errorf("topics: %+v", s.Topics)
	}
	if s.Stored[0].Kind != "journal" || s.Stored[0].Objects != 12 || s.Objects != 13 || s.Bytes <= s.Stored[0].Bytes {
		t.Errorf("stored: %+v, %d objects, %d bytes", s.Stored, s.Objects, s.Bytes)
	}
	if want := 1024 * float64(s.Bytes) / (1 << 30); s.Dollars != want || s.Prices.Storage != 1024 || s.Prices.Get != 0.0004 {
		t.Errorf("%v dollars a month at %+v, want %v", s.Dollars, s.Prices, want)
	}
	c.run(t, "bucket", "stat").expect(t, cli.ExitOK, "events", "journal", "at $1024 a GiB and month")
	c.run(t, "bucket", "stat", "--prices", "storage=0.023").expect(t, cli.ExitOK, "S3 Standard in us-east-1")
	for _, bad := range []string{"disk=1", "storage", "storage=-1", "storage=NaN", "storage=x"} {
		c.run(t, "bucket", "stat", "--prices", bad).expect(t, cli.ExitUsage, "--prices")
	}
	c.environ[1] = "VARVE_PRICES=x"
	c.run(t, "bucket", "stat").expect(t, cli.ExitUsage, "VARVE_PRICES")
}

func TestExplainCountsTheGetsOfAReplay(t *testing.T) {
	c := command{environ: []string{"VARVE_BUCKET=file://" + smallBucket(t)}}
	for line, want := range map[string][4]int64{ // offsets, extents, objects, GETs
		"":                   {6, 2, 2, 2},
		"--from 3":           {3, 1, 1, 1},
		"--from 2 --to 4":    {2, 2, 2, 2},
		"--from 6":           {0, 0, 0, 0},
		"--from -1h --to @9": {0, 0, 0, 0},
	} {
		var e struct {
			Offsets, Extents, Objects, GETs, Bytes int64
			Seconds, Dollars                       float64
		}
		args := []string{"bucket", "explain", "events", "-o", "json", "--latency", "1s", "--parallel", "1", "--prices", "get=1000"}
		unmarshal(t, c.run(t, append(args, strings.Fields(line)...)...), &e)
		if got := [4]int64{e.Offsets, e.Extents, e.Objects, e.GETs}; got != want || e.Seconds != float64(want[3]) || e.Dollars != float64(want[3]) {
			t.Errorf("%q: %+v, want %v", line, e, want)
		}
	}
	c.run(t, "bucket", "explain", "events").expect(t, cli.ExitOK, "2 extents in 2 objects", "2 GETs", "about 30ms", "S3 Standard")
	c.run(t, "bucket", "explain", "events", "--parallel", "0").expect(t, cli.ExitUsage, "--parallel")
}
