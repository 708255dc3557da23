// Command torture runs varve on a MinIO of its own under faults, with many
// clients that record every operation, and reports every broken promise.
//
//	torture [--duration 1m] [--seed N] [--rounds 1] [flags]
//
// In each round producers of several kinds and readers at two nodes are at
// work. By a schedule that follows from the seed, nodes and MinIO are killed,
// stopped and restarted. A proxy between them loses, delays, cuts and changes
// data. Then all faults end, and the clients must know the outcome of
// everything they sent within 200 s. Several clients read the log from its
// beginning, package testenv/history checks the histories, and `varve bucket
// verify` checks the bucket.
//
// A round proves nothing about work that did not happen in it. So one of a minute or longer
// demands merges of each level, compaction, expiries and deletions, and a death of the leader
// between each pair of steps. It goes on until all have happened, for a bounded time. Each that
// lacks then is an anomaly.
//
// With --group the clients are the members of a consumer group instead, which
// are killed every few seconds while the node is killed three times. Each
// record must be processed by a member, and no committed offset may go back. Records are deleted
// once they are committed, offsets are compacted, and deleted groups must stay deleted.
//
// With --cluster three nodes write and two only read, with NATS and a group. Nodes are killed, one
// or several, stopped, drained, restarted in turn, and lose their disks. They are cut from each
// other, from NATS, and from the store, alone or all. No committed offset and no leader epoch may
// go back, and records with acks=1 may be lost only by faults that take a node's journals.
//
// The schedule of faults is the same for the same seed. Their effect is not:
// processes run as they please.
//
// The exit code is 0 without an anomaly, 1 with one, 2 if the tool itself could
// not go on. A round with anomalies keeps its folder: logs, data folders, the
// bucket.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/varvelog/varve/testenv/faultproxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	os.Exit(code)
}

// options are the flags.
type options struct {
	duration time.Duration // of the faults in a round
	interval time.Duration // between faults of a kind
	seed     uint64
	rounds   int
	store    string
	rate     float64 // records a second
	flush    time.Duration
	faults   []faultproxy.Kind
	chosen   bool   // the faults are named by a flag
	varve    string // path of the binary
	dir      string
	report   string
	verbose  bool
	members  int  // of a consumer group; 0: rounds of a log
	several  bool // nodes that write
	out      io.Writer
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{out: out}
	var faults []string
	flags := pflag.NewFlagSet("torture", pflag.ContinueOnError)
	flags.DurationVar(&o.duration, "duration", time.Minute, "how long faults are made in each round")
	flags.DurationVar(&o.interval, "interval", 10*time.Second, "how often each kind of fault is made while its kind has its turn")
	flags.Uint64Var(&o.seed, "seed", 0, "seed of the first round, the next ones have the next; 0: a random one")
	flags.IntVar(&o.rounds, "rounds", 1, "how many rounds, each with a fresh bucket")
	flags.StringVar(&o.store, "store", minioStore, "object store under the nodes: minio, versitygw or seaweedfs")
	flags.Float64Var(&o.rate, "rate", 2000, "records a second that all producers send together")
	flags.DurationVar(&o.flush, "flush-interval", 50*time.Millisecond, "varve's flush interval")
	flags.StringSliceVar(&faults, "faults", nil, "faults of the network between varve and MinIO; none for no faults of it (default all but missing; with --group none, and with those that are named MinIO is killed and stopped too)")
	flags.StringVar(&o.varve, "varve", os.Getenv("VARVE_BIN"), "path of the varve binary; it is built if there is none (default $VARVE_BIN)")
	flags.StringVar(&o.dir, "dir", "", "folder for logs, data and buckets (default a temporary one)")
	flags.StringVar(&o.report, "report", "", "file for a report of all rounds in JSON")
	flags.IntVar(&o.members, "group", 0, "have rounds with a consumer group of so many members, four partitions each, instead: members are killed all the time, the node three times; 50 is a good number")
	flags.BoolVar(&o.several, "cluster", false, "have rounds of a cluster of three nodes that write and two that only read, with NATS, and a log and a group (of --group members, or six) at the same time")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "print every fault as it is made")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.duration < o.interval || o.interval <= 0 || o.rounds < 1 || o.rate <= 0 || o.members < 0 || flags.NArg() > 0 {
		return o, errors.New("the duration must be an interval at least; interval, rounds and rate more than 0, group not less; and nothing may follow the flags")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32)
	}
	if o.several && o.members == 0 {
		o.members = severalMembers
	}
	o.faults, o.chosen = faultproxy.Kinds, faults != nil
	if o.chosen {
		o.faults = nil
	}
	for _, kind := range faults {
		if kind != "none" {
			o.faults = append(o.faults, faultproxy.Kind(kind))
		}
	}
	return o, checkKinds(o.faults)
}

func checkKinds(kinds []faultproxy.Kind) error {
	known := map[faultproxy.Kind]bool{faultproxy.Missing: true}
	for _, kind := range faultproxy.Kinds {
		known[kind] = true
	}
	for _, kind := range kinds {
		if !known[kind] {
			return fmt.Errorf("no fault is named %q; there are %v and %s", kind, faultproxy.Kinds, faultproxy.Missing)
		}
	}
	return nil
}

// run plays all rounds, and returns the exit code with the error to print.
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
		if o.dir, err = os.MkdirTemp("", "varve-torture-"); err != nil {
			return 2, err
		}
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return 2, err
	}
	if o.varve, err = ownBinary(ctx, o.varve, o.dir); err != nil {
		return 2, err
	}
	var reports []*report
	for i := range o.rounds {
		r, err := oneRound(ctx, o, o.seed+uint64(i))
		if r != nil {
			reports = append(reports, r)
		}
		if err := errors.Join(err, writeReports(o.report, reports)); err != nil {
			return 2, err
		}
	}
	code, err := summary(o, reports)
	if temporary && code == 0 {
		err = os.RemoveAll(o.dir)
	}
	return code, err
}

// ownBinary copies the binary, or one built from the source, into dir. So no
// build during a long run replaces it between two starts of a node.
func ownBinary(ctx context.Context, from, dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "varve"))
	if err != nil {
		return "", err
	}
	if from == "" {
		output, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "github.com/varvelog/varve/cmd/varve").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build varve: %w\n%s", err, output)
		}
		return path, nil
	}
	binary, err := os.ReadFile(from)
	if err != nil {
		return "", fmt.Errorf("read the varve binary: %w", err)
	}
	return path, os.WriteFile(path, binary, 0o755)
}

// oneRound plays a round and prints its report. It keeps the folder of a round
// with anomalies.
func oneRound(ctx context.Context, o options, seed uint64) (*report, error) {
	dir := filepath.Join(o.dir, fmt.Sprintf("seed-%d", seed))
	fmt.Fprintf(o.out, "seed %d, %v of faults\n", seed, o.duration)
	r, err := play(ctx, o, seed, dir)
	if err != nil {
		return nil, fmt.Errorf("seed %d, folder %s: %w", seed, dir, err)
	}
	if r.anomalies() > 0 {
		r.Folder = dir
	} else if err := os.RemoveAll(dir); err != nil {
		return r, err
	}
	r.print(o.out)
	return r, nil
}

func writeReports(path string, reports []*report) error {
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// summary is the result of all rounds together.
func summary(o options, reports []*report) (int, error) {
	var failed []uint64
	for _, r := range reports {
		if r.anomalies() > 0 {
			failed = append(failed, r.Seed)
		}
	}
	if len(failed) > 0 {
		return 1, fmt.Errorf("anomalies in %d of %d rounds, with the seeds %v", len(failed), len(reports), failed)
	}
	fmt.Fprintf(o.out, "%d rounds without anomalies\n", len(reports))
	return 0, nil
}
