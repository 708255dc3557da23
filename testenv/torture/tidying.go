package main

import (
	"bufio"
	"context"
	"errors"
	"io"
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

// deathAfter begins the names of the counters of deaths.
const deathAfter = "deaths after: "

// tidyingSteps are the steps between two of which the leader must die, as it logs them, in
// their order. A death counts for the last step that the leader has logged.
var tidyingSteps = []string{"intent committed", "output uploaded", "read back", "results committed", "released", "deleted", "swept"}

// removedPages counts index objects that the leader removed, because no floor keeps them.
const removedPages = `varve_removed_index_objects_total{journal="1"}`

// foundPages counts index objects that a node looked for and that were removed. A checkpoint
// had their content.
const foundPages = "varve_removed_index_found_total"

// tidyingDemands are the counters that must have counted something in a round of a minute or
// more. They are named as in the metrics of nodes, or as the leader logs them.
var tidyingDemands = []string{
	`varve_merge_jobs_total{journal="1",level="1"}`,
	`varve_merge_jobs_total{journal="1",level="2"}`,
	`varve_merge_jobs_total{journal="1",level="3"}`,
	`varve_compaction_passes_total{journal="1"}`,
	`varve_expiries_total{journal="1"}`,
	`varve_deleted_objects_total{journal="1"}`,
	`varve_dropped_partitions_total{journal="1"}`,
	removedPages, foundPages,
	"released", "swept", "journal objects deleted",
}

const (
	pollLog     = time.Millisecond
	pollMetrics = 200 * time.Millisecond
)

// tidying watches the leader tidy its journals.
type tidying struct {
	log string // the leader's, of all its lives

	mu struct {
		sync.Mutex
		read   int64            // bytes of the log that were looked at
		last   string           // step, in these
		logged map[string]int64 // steps, in these
		deaths map[string]int   // by the last step before
		before map[string]int64 // counters of earlier lives of nodes
		now    map[metric]int64 // and of the present ones
	}
}

// metric is a counter of a node.
type metric struct{ http, name string }

func newTidying(log string) *tidying {
	t := &tidying{log: log}
	t.mu.logged, t.mu.deaths, t.mu.before, t.mu.now = map[string]int64{}, map[string]int{}, map[string]int64{}, map[metric]int64{}
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

// died counts a death of the leader by the last step in its log.
func (t *tidying) died() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.readOnLocked(); err != nil || t.mu.last == "" {
		return err
	}
	t.mu.deaths[t.mu.last]++
	return nil
}

// readOnLocked counts the steps in the lines that the leader has logged since the last call.
func (t *tidying) readOnLocked() error {
	f, err := os.Open(t.log)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(t.mu.read, io.SeekStart); err != nil {
		return err
	}
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line without an end is not complete
		}
		if err != nil {
			return err
		}
		t.mu.read += int64(len(line))
		m := tidyingLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		t.mu.last = m[1]
		t.mu.logged[m[1]]++
		if n := deletedRanges.FindStringSubmatch(line); m[1] == "deleted" && n != nil && n[1] != "0" {
			t.mu.logged["journal objects deleted"]++
		}
	}
}

var deletedRanges = regexp.MustCompile(` ranges=(\d+)`)

// watch keeps the counters of a node, over all its lives, until ctx ends.
func (t *tidying) watch(ctx context.Context, address string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for ctx.Err() == nil {
		t.look(client, address)
		sleep(ctx, pollMetrics)
	}
}

// look takes the counters as they are. A counter that has gone back is that of a new
// process.
func (t *tidying) look(client *http.Client, address string) {
	response, err := client.Get("http://" + address + "/metrics")
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
		if !slices.Contains(tidyingDemands, name) || err != nil {
			continue
		}
		of := metric{address, name}
		if int64(n) < t.mu.now[of] {
			t.mu.before[name] += t.mu.now[of]
		}
		t.mu.now[of] = int64(n)
	}
}

// counts returns all counters, and the deaths by the step before.
func (t *tidying) counts() (map[string]int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.readOnLocked()
	all := map[string]int64{}
	for _, name := range tidyingDemands {
		all[name] = t.countedLocked(name) + t.mu.logged[name]
	}
	for _, step := range tidyingSteps {
		all[deathAfter+step] = int64(t.mu.deaths[step])
	}
	return all, err
}

// pagesRemoved returns how many index objects the leader has removed.
func (t *tidying) pagesRemoved() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.countedLocked(removedPages)
}

func (t *tidying) countedLocked(name string) int64 {
	n := t.mu.before[name]
	for of, now := range t.mu.now {
		if of.name == name {
			n += now
		}
	}
	return n
}
