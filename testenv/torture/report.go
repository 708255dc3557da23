package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/varvelog/varve/testenv/history"
)

// report is the result of a round.
type report struct {
	Seed         uint64           `json:"seed"`
	Seconds      float64          `json:"seconds"`
	DrainSeconds float64          `json:"drain_seconds"`
	MoreSeconds  float64          `json:"more_seconds"` // for which it went on to meet its demands
	Result       history.Result   `json:"history"`
	LookUps      int64            `json:"offset_look_ups"`
	Floors       int              `json:"floors_moved"`
	TakeOvers    int              `json:"take_overs,omitempty"` // leaderships that the bucket still shows, but for the first of each journal
	Forced       int              `json:"taken_by_force,omitempty"`
	Objects      int              `json:"objects_left"`
	Faults       map[string]int   `json:"faults_fired"`
	Recoveries   []recoveries     `json:"recoveries"`
	Exits        []string         `json:"exits_by_themselves"`
	Group        *groupReport     `json:"group,omitempty"`
	Tidied       map[string]int64 `json:"tidied"` // work of the leader on its journals, and its deaths in between
	Foreign      bool             `json:"read_by_foreign_reader"`
	Verified     bool             `json:"bucket_verified"` // also false if the binary cannot
	Folder       string           `json:"folder,omitempty"`
}

// recoveries are the times from a start of a node until it was ready.
type recoveries struct {
	Node  string  `json:"node"`
	What  string  `json:"what"` // undisturbed, or all
	Count int     `json:"count"`
	P50   float64 `json:"p50_seconds"`
	Max   float64 `json:"max_seconds"`
}

// check adds the result of the history to the anomalies that were found otherwise.
func (r *report) check(h *history.History) {
	found := r.Result
	r.Result = h.Check()
	for _, a := range found.Anomalies {
		r.add(a.Kind, "%s", a.Detail)
	}
}

// add adds an anomaly that the history does not have.
func (r *report) add(kind history.Kind, format string, args ...any) {
	if r.Result.Counts == nil {
		r.Result.Counts = map[history.Kind]int{}
	}
	r.Result.Counts[kind]++
	r.Result.Anomalies = append(r.Result.Anomalies, history.Anomaly{Kind: kind, Detail: fmt.Sprintf(format, args...)})
}

func (r *round) fillReport() error {
	rep := &r.report
	rep.Seed, rep.Seconds, rep.LookUps = r.seed, time.Since(r.began).Seconds(), r.lookUps.Load()
	rep.Faults = maps.Clone(r.nemesis.done)
	demanding := r.demand()
	for _, p := range r.cluster.proxies {
		for kind, n := range p.Fired() {
			rep.Faults[string(kind)] += n
		}
	}
	for _, n := range r.cluster.nodes {
		n.mu.Lock()
		var all, undisturbed []time.Duration
		for _, recovery := range n.mu.recoveries {
			all = append(all, recovery.took)
			if recovery.undisturbed {
				undisturbed = append(undisturbed, recovery.took)
			}
		}
		for _, exit := range n.mu.exits {
			rep.Exits = append(rep.Exits, n.name+": "+exit)
		}
		n.mu.Unlock()
		rep.Recoveries = append(rep.Recoveries, summarize(n.name, "all", all), summarize(n.name, "undisturbed", undisturbed))
	}
	return demanding
}

func summarize(node, what string, took []time.Duration) recoveries {
	s := recoveries{Node: node, What: what, Count: len(took)}
	if len(took) > 0 {
		slices.Sort(took)
		s.P50, s.Max = took[len(took)/2].Seconds(), took[len(took)-1].Seconds()
	}
	return s
}

// anomalies is the number of broken promises.
func (r *report) anomalies() int { return r.Result.Total() }

// How much of the full JSON report is printed.
const (
	maxShown = 20
	maxExits = 5
)

// print writes the report for people.
func (r *report) print(w io.Writer) {
	h := r.Result
	fmt.Fprintf(w, "seed %d: %.0f s, of them %.0f s to meet its demands, drained in %.1f s\n", r.Seed, r.Seconds, r.MoreSeconds, r.DrainSeconds)
	r.printWork(w)
	fmt.Fprintf(w, "  the floor moved %d times; %d objects are left in the bucket\n", r.Floors, r.Objects)
	if r.TakeOvers > 0 {
		fmt.Fprintf(w, "  journals were taken over %d times, of them %d by force\n", r.TakeOvers, r.Forced)
	}
	fmt.Fprintf(w, "  tidied:")
	for _, name := range slices.Sorted(maps.Keys(r.Tidied)) {
		fmt.Fprintf(w, " %s %d;", name, r.Tidied[name])
	}
	fmt.Fprintf(w, "\n  faults fired:")
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(w, " %s %d;", name, r.Faults[name])
	}
	fmt.Fprintln(w)
	for _, s := range r.Recoveries {
		fmt.Fprintf(w, "  %s ready after a start (%s): %d times, p50 %.2f s, max %.2f s\n", s.Node, s.What, s.Count, s.P50, s.Max)
	}
	fmt.Fprintf(w, "  ended by themselves: %d times\n", len(r.Exits))
	for _, exit := range r.Exits[:min(len(r.Exits), maxExits)] {
		fmt.Fprintf(w, "    %.300s\n", exit)
	}
	outcome := map[bool]string{true: "clean", false: "not run, or see below"}
	fmt.Fprintf(w, "  varve bucket verify: %s; read by the format page alone: %s\n", outcome[r.Verified], outcome[r.Foreign])
	if r.anomalies() == 0 {
		fmt.Fprintln(w, "  no anomalies")
		return
	}
	fmt.Fprintf(w, "  %d ANOMALIES:", r.anomalies())
	for _, kind := range h.Kinds() {
		fmt.Fprintf(w, " %s %d;", kind, h.Counts[kind])
	}
	fmt.Fprintln(w)
	for _, a := range h.Anomalies[:min(len(h.Anomalies), maxShown)] {
		fmt.Fprintf(w, "    %s %s\n", a.Kind, a.Detail)
	}
	fmt.Fprintf(w, "  logs, data folders and the bucket are in %s\n", cmp.Or(r.Folder, "no folder"))
}

// printWork prints the work of the clients.
func (r *report) printWork(w io.Writer) {
	if g := r.Group; g != nil {
		fmt.Fprintf(w, "  %d members of %d partitions, %d killed\n", g.Members, g.Partitions, g.Killed)
		fmt.Fprintf(w, "  %d records processed %d times, %d offsets committed, %d looked up\n", g.Records, g.Processed, g.Commits, g.LookUps)
		for _, reason := range slices.Sorted(maps.Keys(g.Refused)) {
			fmt.Fprintf(w, "  commits not made, %s: %d\n", reason, g.Refused[reason])
		}
	}
	h := r.Result
	if h.Sent == 0 {
		return // a group alone
	}
	fmt.Fprintf(w, "  sent %d: %d acknowledged, %d refused as they must be, %d of unknown outcome\n", h.Sent, h.Acked, h.Refused, h.Unknown)
	fmt.Fprintf(w, "  in the log %d, of them %d repeated without idempotence; %d excused by a lost disk\n", h.Records, h.Repeated, h.Excused)
	fmt.Fprintf(w, "  read %d, offsets looked up %d times\n", h.Read, r.LookUps)
}
