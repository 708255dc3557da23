// Command failover measures how long clients wait when nodes of a cluster die, stand
// still, are cut off, or are restarted.
//
//	failover [--kills 20] [--only REGEXP] [--clients franz-go,java,librdkafka] [--json FILE]
//
// For each row and each time it starts a cluster on a MinIO of its own, with the default
// settings of nodes. Producers of several families write to a topic each, idempotent with
// acks=all and the defaults of their libraries. Then the fault happens. It reports the
// longest time between two acknowledgements of a partition, as its median and its worst
// value over all times, for each family. Where nodes are gone for good, it reports as well when
// the others led all journals: clients that wait for a node to answer learn that later.
//
// All records are read back at the end of each time. A record that was acknowledged and is
// not there, or is there twice, makes the exit code 1. Errors that an application would see
// are counted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/senders"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
	}
	os.Exit(code)
}

// options are the flags.
type options struct {
	varve, dir, json string
	kills            int
	rate             float64
	only             *regexp.Regexp
	clients          []string
	flags            []string
	keep             bool
	out              io.Writer
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{out: out}
	var only string
	flags := pflag.NewFlagSet("failover", pflag.ContinueOnError)
	flags.StringVar(&o.varve, "varve", "bin/varve", "path of the varve binary")
	flags.IntVar(&o.kills, "kills", 20, "how often each row of kills is measured; the others a quarter of that")
	flags.Float64Var(&o.rate, "rate", 300, "records a second of each producer")
	flags.StringVar(&only, "only", "", "rows whose names match this regular expression")
	flags.StringSliceVar(&o.clients, "clients", nil, "families of producers: franz-go, java, librdkafka (default all that are found)")
	flags.StringArrayVar(&o.flags, "flag", nil, "one more flag of all nodes, as --flag=--flush-interval=20ms")
	flags.StringVar(&o.dir, "dir", "", "folder for logs, data and buckets (default a temporary one)")
	flags.BoolVar(&o.keep, "keep", false, "keep the folders of all times, not only of those with a lost record")
	flags.StringVar(&o.json, "json", "", "file for the results in JSON")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.kills < 1 || o.rate <= 0 || flags.NArg() > 0 {
		return o, errors.New("kills and rate must be more than 0, and nothing may follow the flags")
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, err
	}
	o.varve, err = filepath.Abs(o.varve)
	return o, err
}

// run measures all rows, and returns the exit code with the error to print.
func run(ctx context.Context, args []string, out io.Writer) (int, error) {
	o, err := parse(args, out)
	if errors.Is(err, pflag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	temporary := o.dir == ""
	if temporary {
		if o.dir, err = os.MkdirTemp("", "varve-failover-"); err != nil {
			return 2, err
		}
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return 2, err
	}
	results, err := measureAll(ctx, o)
	if err != nil {
		return 2, fmt.Errorf("%w; logs are in %s", err, o.dir)
	}
	wrong := 0
	for _, r := range results {
		wrong += r.Lost + r.Doubled
	}
	if temporary && wrong == 0 {
		err = os.RemoveAll(o.dir)
	}
	if wrong > 0 {
		return 1, fmt.Errorf("%d records are lost or there twice; logs and data are in %s", wrong, o.dir)
	}
	return 0, err
}

func measureAll(ctx context.Context, o options) (results []*result, err error) {
	families, err := senders.Find(ctx, o.dir, o.out)
	if err != nil {
		return nil, err
	}
	if o.clients != nil {
		families = slices.DeleteFunc(families, func(f senders.Family) bool { return !slices.Contains(o.clients, f.Name) })
	}
	if len(families) == 0 {
		return nil, fmt.Errorf("none of the clients %s is found", strings.Join(o.clients, ", "))
	}
	binary, err := miniod.Build(ctx, o.out)
	if err != nil {
		return nil, err
	}
	store, err := miniod.Start(ctx, miniod.Config{Binary: binary, Dir: filepath.Join(o.dir, "minio")})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Kill()) }()
	for _, r := range rows {
		if !o.only.MatchString(r.name) {
			continue
		}
		measured, err := o.measure(ctx, r, families, store)
		results = append(results, measured...)
		if err := errors.Join(err, writeJSON(o.json, results)); err != nil {
			return results, err
		}
		print(o.out, measured)
	}
	fmt.Fprintln(o.out)
	print(o.out, results)
	return results, nil
}

// measure measures a row as often as it takes.
func (o options) measure(ctx context.Context, r row, families []senders.Family, store *miniod.Server) ([]*result, error) {
	times := o.kills
	if r.seldom {
		times = max(1, o.kills/4)
	}
	byFamily := map[string]*result{}
	var results []*result
	for _, f := range families {
		byFamily[f.Name] = &result{Row: r.name, Bar: r.bar, Family: f.Name}
		results = append(results, byFamily[f.Name])
	}
	for i := range times {
		dir := filepath.Join(o.dir, fmt.Sprintf("%s-%d", r.slug(), i))
		t := &trial{options: o, row: r, dir: dir, store: store, families: families}
		err := t.run(ctx)
		if err != nil {
			return results, fmt.Errorf("%s, time %d, in %s: %w", r.name, i+1, dir, err)
		}
		wrong := false
		for _, l := range t.loads {
			byFamily[l.family].add(l, t)
			wrong = wrong || l.lost+l.doubled > 0
		}
		fmt.Fprintf(o.out, "%s, %d of %d: %s\n", r.name, i+1, times, t.summary())
		if !wrong && !o.keep {
			if err := os.RemoveAll(dir); err != nil {
				return results, err
			}
		}
	}
	return results, nil
}

// result is all times of one row, as one family saw them.
type result struct {
	Row       string    `json:"row"`
	Bar       string    `json:"bar"`
	Family    string    `json:"client"`
	Gaps      []float64 `json:"longest_gaps_seconds"` // one for each time
	Median    float64   `json:"median_seconds"`
	Worst     float64   `json:"worst_seconds"`
	Acked     int       `json:"acknowledged"`
	Errors    int       `json:"errors_of_the_client"`
	FirstErr  string    `json:"first_error,omitempty"`
	Lost      int       `json:"lost"`
	Doubled   int       `json:"doubled"`
	TakeOvers []int     `json:"take_overs"` // of journals, in the cluster, one for each time

	// Led is how long the nodes that were left needed to lead all journals, one for each time of
	// a row in which nodes die or vanish.
	Led []float64 `json:"all_led_after_seconds,omitempty"`
}

func (r *result) add(l *load, t *trial) {
	r.Gaps = append(r.Gaps, l.longest.Seconds())
	r.Median, r.Worst = medianAndWorst(r.Gaps)
	if t.led > 0 {
		r.Led = append(r.Led, t.led.Seconds())
	}
	r.Acked, r.Errors, r.Lost, r.Doubled = r.Acked+l.acked, r.Errors+l.failed, r.Lost+l.lost, r.Doubled+l.doubled
	if r.FirstErr == "" {
		r.FirstErr = l.firstErr
	}
	r.TakeOvers = append(r.TakeOvers, t.takeOvers)
}

func medianAndWorst(all []float64) (median, worst float64) {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}

func writeJSON(path string, results []*result) error {
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

func print(out io.Writer, results []*result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROW\tBAR\tCLIENT\tTIMES\tMEDIAN\tWORST\tALL LED\tERRORS\tTAKE-OVERS\tLOST\tDOUBLED")
	for _, r := range results {
		most := 0
		if len(r.TakeOvers) > 0 {
			most = slices.Max(r.TakeOvers)
		}
		led := "-"
		if len(r.Led) > 0 {
			median, worst := medianAndWorst(r.Led)
			led = fmt.Sprintf("%.2f s, %.2f s", median, worst)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.2f s\t%.2f s\t%s\t%d\t%d\t%d\t%d\n", r.Row, r.Bar, r.Family, len(r.Gaps), r.Median, r.Worst, led, r.Errors, most, r.Lost, r.Doubled)
	}
	_ = w.Flush()
}

// limits of a trial.
const (
	readyLimit   = 2 * time.Minute
	recoverLimit = 3 * time.Minute // until all partitions are acknowledged again
	readLimit    = 5 * time.Minute
	steady       = 6 * time.Second // longer than any client keeps metadata that it has just asked for
)
