package main

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tidyingArgs make the leader tidy its journals all the while, however few records they
// have, and log each step.
var tidyingArgs = []string{
	"--log-level", "debug", "--merge-bytes", "2MiB", "--merge-age", "1s", "--merge-own-bytes", "64KiB",
	"--merge-join-age", "1s", "--merge-join-count", "4", "--merge-join-own-bytes", "1KiB", "--merge-wait", "500ms", "--tiering-rate", "unlimited",
}

// graces are those of a round: of replaced objects, and of freed ones.
func graces(seed uint64) []string {
	chosen := [][2]string{{"0s", "0s"}, {"2s", "2s"}, {"0s", "3s"}}[seed%3]
	return []string{"--replaced-grace", chosen[0], "--freed-grace", chosen[1], "--retention-check", "500ms", "--delete-grace", "1s"}
}

// tidyingSteps are the steps between two of which the leader must die, as it logs them, in
// their order. A death counts for the last step that the leader has logged.
var tidyingSteps = []string{"intent committed", "output uploaded", "read back", "results committed", "released", "deleted", "swept"}

// demanded are the counters that must have counted something in a round whose faults last
// for so long or longer. They are named as in the leader's metrics, or as it logs them.
var demanded = map[string]time.Duration{
	`varve_merge_jobs_total{journal="1",level="1"}`: time.Minute,
	`varve_merge_jobs_total{journal="1",level="2"}`: 2 * time.Minute,
	`varve_compaction_passes_total{journal="1"}`:    time.Minute,
	`varve_expiries_total{journal="1"}`:             time.Minute,
	`varve_deleted_objects_total{journal="1"}`:      time.Minute,
	`varve_dropped_partitions_total{journal="1"}`:   2 * time.Minute,
	`varve_merge_jobs_total{journal="1",level="3"}`: 4 * time.Minute, // joins objects of such jobs
	"released":                time.Minute,
	"swept":                   time.Minute,
	"journal objects deleted": 2 * time.Minute, // needs two floors
}

// deathsFrom is the same for a death after each of the steps of a merge, and for one after each
// step at all.
const (
	deathsFrom    = time.Minute
	allDeathsFrom = 3 * time.Minute
	mergeSteps    = 4
)

const (
	pollLog     = time.Millisecond
	pollMetrics = 200 * time.Millisecond
)

// tidying watches the leader tidy its journals.
type tidying struct {
	log  string // the leader's, of all its lives
	http string

	mu struct {
		sync.Mutex
		deaths map[string]int   // by the last step before
		before map[string]int64 // counters of earlier lives
		now    map[string]int64 // and of the present one
	}
}

func newTidying(log, http string) *tidying {
	t := &tidying{log: log, http: http}
	t.mu.deaths, t.mu.before, t.mu.now = map[string]int{}, map[string]int64{}, map[string]int64{}
	return t
}

// wanted reports whether the leader has died the fewest times after a step.
func (t *tidying) wanted(step string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	rarest := slices.MinFunc(tidyingSteps, func(a, b string) int { return t.mu.deaths[a] - t.mu.deaths[b] })
	return slices.Contains(tidyingSteps, step) && t.mu.deaths[step] == t.mu.deaths[rarest]
}

var tidyingLine = regexp.MustCompile(`msg="tiering: ([a-z ]+)".* journal=1\b`)

// await waits until the leader logs a step that is wanted, and returns it. It returns none if
// ctx ends first.
func (t *tidying) await(ctx context.Context) (step string, err error) {
	f, err := os.Open(t.log)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		return "", err
	}
	lines, line := bufio.NewReader(f), ""
	for ctx.Err() == nil {
		part, err := lines.ReadString('\n')
		line += part
		if err != nil {
			sleep(ctx, pollLog)
			continue
		}
		if m := tidyingLine.FindStringSubmatch(line); m != nil && t.wanted(m[1]) {
			return m[1], nil
		}
		line = ""
	}
	return "", nil
}

// tailBytes is more than the leader logs between two steps.
const tailBytes = 4 << 20

// died counts a death of the leader by the last step in its log.
func (t *tidying) died() error {
	f, err := os.Open(t.log)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-tailBytes), tailBytes))
	if err != nil {
		return err
	}
	found := tidyingLine.FindAllSubmatch(end, -1)
	if len(found) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.deaths[string(found[len(found)-1][1])]++
	return nil
}

// logged counts the steps in the leader's log.
func (t *tidying) logged() (map[string]int64, error) {
	f, err := os.Open(t.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, lines := map[string]int64{}, bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		if m := tidyingLine.FindStringSubmatch(line); m != nil {
			found[m[1]]++
			if n := deletedRanges.FindStringSubmatch(line); m[1] == "deleted" && n != nil && n[1] != "0" {
				found["journal objects deleted"]++
			}
		}
		if err != nil {
			return found, nil // a line without an end is not complete
		}
	}
}

var deletedRanges = regexp.MustCompile(` ranges=(\d+)`)

// watch keeps the counters of the leader, over all its lives, until ctx ends.
func (t *tidying) watch(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for ctx.Err() == nil {
		t.look(client)
		sleep(ctx, pollMetrics)
	}
}

// look takes the counters as they are. A counter that has gone back is that of a new
// process.
func (t *tidying) look(client *http.Client) {
	response, err := client.Get("http://" + t.http + "/metrics")
	if err != nil {
		return
	}
	defer response.Body.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 {
			continue
		}
		name := lines.Text()[:at]
		n, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if _, wanted := demanded[name]; !wanted || err != nil {
			continue
		}
		if int64(n) < t.mu.now[name] {
			t.mu.before[name] += t.mu.now[name]
		}
		t.mu.now[name] = int64(n)
	}
}

// counts returns all counters, and the deaths by the step before. lacking are those that
// should not be zero after so long.
func (t *tidying) counts(after time.Duration) (all map[string]int64, lacking []string, err error) {
	logged, err := t.logged()
	if err != nil {
		return nil, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all = maps.Clone(t.mu.before)
	for name, from := range demanded {
		if all[name] += t.mu.now[name] + logged[name]; all[name] == 0 && after >= from {
			lacking = append(lacking, name)
		}
	}
	for i, step := range tidyingSteps {
		name, from := "deaths after: "+step, deathsFrom
		if i >= mergeSteps {
			from = allDeathsFrom
		}
		if all[name] = int64(t.mu.deaths[step]); all[name] == 0 && after >= from {
			lacking = append(lacking, name)
		}
	}
	return all, lacking, nil
}
