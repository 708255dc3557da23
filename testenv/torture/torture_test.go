package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/miniod"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// playRound runs the tool for one round, which must be without anomalies.
func playRound(t *testing.T, args ...string) *report {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: run without -short")
	}
	if _, err := miniod.Find(); errors.Is(err, miniod.ErrNoBinary) {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "varve-torture-test-") // stays if the test fails
	if err != nil {
		t.Fatal(err)
	}
	reportFile := filepath.Join(dir, "report.json")
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	var out bytes.Buffer
	code, err := run(ctx, append(args, "--dir", dir, "--report", reportFile, "--varve", testenv.VarveBinary(t), "--verbose"), &out)
	t.Log(out.String())
	if code != 0 || err != nil {
		t.Fatalf("exit code %d, %v", code, err)
	}
	data, err := os.ReadFile(reportFile)
	if err != nil {
		t.Fatal(err)
	}
	var reports []*report
	if err := json.Unmarshal(data, &reports); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	return reports[0]
}

func TestAMinuteOfFaultsBreaksNoPromise(t *testing.T) {
	r := playRound(t, "--duration", "60s", "--interval", "4s", "--rate", "1500")
	killed := r.Faults["kill -9 leader"] + r.Faults["kill -9 between two steps of tiering of leader"]
	if r.Result.Acked < 1000 || r.Result.Read < 5000 || killed == 0 || r.LookUps == 0 || r.Result.Refused == 0 {
		t.Errorf("the round proves nothing: %+v", r)
	}
}

func TestAGroupWhoseMembersDieProcessesEverything(t *testing.T) {
	r := playRound(t, "--group", "8", "--duration", "20s", "--rate", "400")
	if g := r.Group; g.Records < 1000 || g.Commits < 200 || g.LookUps == 0 || g.Killed < 1 || r.Faults["kill -9 leader"] != 2 {
		t.Errorf("the round proves nothing: %+v", g)
	}
}

func TestAScheduleFollowsFromItsSeed(t *testing.T) {
	first := plan(7, time.Minute, 4*time.Second, faultproxy.Kinds)
	if !reflect.DeepEqual(first, plan(7, time.Minute, 4*time.Second, faultproxy.Kinds)) {
		t.Error("the same seed makes another schedule")
	}
	if reflect.DeepEqual(first, plan(8, time.Minute, 4*time.Second, faultproxy.Kinds)) {
		t.Error("another seed makes the same schedule")
	}
}

func TestSchedulesHaveEveryKindOfFaultAndPauses(t *testing.T) {
	for seed := range uint64(20) {
		const duration, interval = 20 * time.Minute, 10 * time.Second
		seen, quiet, last := map[string]int{}, false, time.Duration(0)
		for _, s := range plan(seed, duration, interval, faultproxy.Kinds) {
			seen[s.name()]++
			if s.at < last || s.at >= duration || s.span > 80*time.Second || s.fault.Delay > time.Minute {
				t.Errorf("seed %d: %v after %v", seed, s, last)
			}
			quiet = quiet || s.at-last > 25*time.Second
			last = s.at
		}
		for _, c := range deck(faultproxy.Kinds) {
			name := step{target: c.target, action: c.action, fault: faultproxy.Fault{Kind: c.fault}}.name()
			if seen[name] == 0 {
				t.Errorf("seed %d: no %s", seed, name)
			}
		}
		if !quiet {
			t.Errorf("seed %d: never half a minute without a fault", seed)
		}
	}
}

func TestEveryScheduleBeginsWithKills(t *testing.T) {
	for seed := range uint64(20) {
		kills := 0
		for _, s := range plan(seed, 12*time.Second, 4*time.Second, nil) {
			if s.target == onLeader && (s.action == kill || s.action == killTidy) {
				kills++
			}
		}
		if kills < 3 {
			t.Errorf("seed %d: %d kills", seed, kills)
		}
	}
}

func TestEveryScheduleStopsTheFollowerForLongerThanObjectsStay(t *testing.T) {
	for seed := range uint64(20) {
		stopped := 0
		for _, s := range plan(seed, time.Minute, 10*time.Second, nil) {
			if s.target == onFollower && s.action == pause && s.span > 3*time.Second {
				stopped++
			}
		}
		if stopped < 3 {
			t.Errorf("seed %d: %d stops", seed, stopped)
		}
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--duration", "1s"}, {"--interval", "0"}, {"--rounds", "0"}, {"--rate", "0"}, {"--group", "-1"}, {"more"}, {"--faults", "flood"}, {"--what"},
	} {
		if code, err := run(context.Background(), args, &bytes.Buffer{}); code != 2 || err == nil {
			t.Errorf("%v: code %d, error %v", args, code, err)
		}
	}
}

func TestFlagsChooseFaultsAndSeed(t *testing.T) {
	o, err := parse([]string{"--faults", "none", "--seed", "5"}, nil)
	if err != nil || len(o.faults) > 0 || o.seed != 5 {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parse([]string{"--faults", "503,missing"}, nil)
	if err != nil || len(o.faults) != 2 || o.seed == 0 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parse(nil, nil); err != nil || len(o.faults) != len(faultproxy.Kinds) {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestAnomaliesMakeTheExitCode(t *testing.T) {
	good := &report{Result: history.Result{Counts: map[history.Kind]int{}}}
	bad := &report{Seed: 9, Folder: "here", Result: history.Result{Counts: map[history.Kind]int{}}}
	bad.add(history.LostWrite, "value %d", 7)
	var out bytes.Buffer
	if code, err := summary(options{out: &out}, []*report{good}); code != 0 || err != nil {
		t.Errorf("code %d, %v", code, err)
	}
	code, err := summary(options{out: &out}, []*report{good, bad})
	if code != 1 || err == nil || !strings.Contains(err.Error(), "9") {
		t.Errorf("code %d, %v", code, err)
	}
	bad.print(&out)
	for _, want := range []string{"seed 9", "lost-write 1", "value 7", "here"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the report:\n%s", want, out.String())
		}
	}
}

func TestRecoveriesAreSummarized(t *testing.T) {
	if s := summarize("n", "all", []time.Duration{3 * time.Second, time.Second, 2 * time.Second}); s.Count != 3 || s.P50 != 2 || s.Max != 3 {
		t.Errorf("%+v", s)
	}
	if s := summarize("n", "all", nil); s.Count != 0 {
		t.Errorf("%+v", s)
	}
}

func TestOutputOfKcatIsRead(t *testing.T) {
	h := history.New(partitions, func() time.Duration { return 0 })
	p, c := h.NewProducer(history.Promise{Acks: -1}), h.NewConsumer("kcat")
	c.Seek(2, 0)
	var lines bytes.Buffer
	for offset := range 3 {
		v := p.Send(2)
		p.Acked(v, int64(offset))
		lines.WriteString("2 " + strconv.Itoa(offset) + " " + string(v.Key()) + " " + string(v.Text(70)) + "\n")
	}
	if err := parseKcat(&lines, c); err != nil {
		t.Fatal(err)
	}
	if r := h.Check(); c.Next(2) != 3 || r.Total() > 0 {
		t.Errorf("next %d, %+v", c.Next(2), r)
	}
	for _, bad := range []string{"2 0 key\n", "x 0 k v\n", "2 x k v\n"} {
		if err := parseKcat(strings.NewReader(bad), c); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestDisturbancesExcuseWhatHappensDuringThem(t *testing.T) {
	var d disturbances
	if !d.noneFor(time.Minute) || !d.noneSince(d.mark()) {
		t.Error("disturbed from the beginning")
	}
	before := d.mark()
	end := d.begin()
	if d.noneFor(0) || d.noneSince(before) || d.noneSince(d.mark()) {
		t.Error("nothing disturbs during a disturbance")
	}
	end()
	if d.noneFor(time.Minute) || d.noneSince(before) || !d.noneSince(d.mark()) {
		t.Error("wrong after a disturbance")
	}
}
