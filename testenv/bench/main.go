// Command bench measures varve next to the limits of the machine, the store and
// the network, and next to other brokers, and prints tables.
//
//	bench --memory [--duration 10m]
//	bench --archive [--only REGEXP] [--fill 1GB] [--before BINARY]
//	bench --soak --fill 20GB --duration 30m
//	bench [--table] [--only REGEXP] [--duration 3s] [--runs 1] [--kafka] [--peer HOST:PORT --peer-pid N] [--before BINARY] [flags]
//
// Each case runs the varve binary as a node with a fresh bucket, in a folder or
// in a MinIO of this program's own. It puts a load on the node with `varve
// bench` (franz-go), another process, or with single requests of franz-go in
// this one. Next to each figure stands a limit, measured right after it: the
// lowest of three. These are fdatasync into a file that has its blocks, PUT or
// GET at the object sizes of the case, and the load generator on a broker that
// does nothing. The tables also have the cost to the node: CPU time, peak
// memory, requests to the store, allocations.
//
// Other systems get the same load in turn, run by run: Apache Kafka, which
// Maven fetches, any broker that speaks Kafka's protocol, and an older varve.
// The median of a system's runs stands for it, with the lowest and the highest.
//
// With --archive, studies measure an archive: replays of partitions that share a
// journal, merging next to ingest, verification, compression, requests and
// dollars. With --soak, one long run writes, replays, merges, compacts and
// deletes while its node is killed again and again. It fails if a record is
// lost, doubled or changed.
//
// The figures are those of this machine, at this hour. No test passes or fails
// by them; compare ratios, and CPU time per GB, rather than throughputs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/varvelog/varve/testenv/maven"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == trivialCommand {
		if err := serveTrivial(os.Stdin, os.Stdout, len(os.Args) > 2); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, pflag.ErrHelp):
	case errors.Is(err, maven.ErrMissing):
		fmt.Fprintf(os.Stderr, "bench: skipped the comparison with Kafka: %v; on Debian: apt-get install default-jre-headless maven\n", err)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.memory {
		return o.measureMemory(ctx, out, log)
	}
	if o.archive {
		return o.studyArchive(ctx, out, log)
	}
	if o.soak {
		return o.runSoak(ctx, out, log)
	}
	list := chosen(&o)
	if o.list || len(list) == 0 {
		for _, b := range list {
			fmt.Fprintln(out, b.Name)
		}
		if len(list) == 0 {
			return errors.New("--only matches no case; --list shows them")
		}
		return nil
	}
	if err := o.folders(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	r := &runner{o: o}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.start(ctx, list, log); err != nil {
		return err
	}
	return r.all(ctx, list, out, log)
}

// folders makes the folders and, if needed, the binary.
func (o *options) folders(ctx context.Context) error {
	for _, dir := range []string{o.dir, o.profiles} {
		if dir != "" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
	}
	dir, err := os.MkdirTemp(o.dir, "varve-bench-")
	if err != nil {
		return err
	}
	if o.dir, err = filepath.Abs(dir); err != nil || o.varve != "" {
		return err
	}
	o.varve = filepath.Join(o.dir, "varve")
	output, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", o.varve, "github.com/varvelog/varve/cmd/varve").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build varve: %w\n%s", err, output)
	}
	return nil
}

// all runs the cases. It reports all figures so far when a case fails or the
// run is interrupted.
func (r *runner) all(ctx context.Context, list []bench, out, log io.Writer) error {
	report := Report{Runs: r.o.runs, Duration: r.o.duration.Seconds(), Cold: cold(r.systems), System: machine{
		CPUs: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Load: loadAverage(),
		Serve: strings.Join(r.o.serve, " "),
	}}
	if uses(list, farStore) {
		report.System.StoreDelay = fmt.Sprintf("%v at the median, %v at the 99th percentile", r.o.delay.Delay, max(r.o.delay.Delay, r.o.delay.P99))
	}
	for _, s := range r.systems {
		report.System.Systems = append(report.System.Systems, s.name())
	}
	var errs []error
	var err error
	if report.Loopback, err = rawLoopback(ctx, r.o.duration/4); err != nil {
		return err
	}
	for i, b := range list {
		fmt.Fprintf(log, "[%d/%d] %s", i+1, len(list), b.Name)
		row, err := r.measure(ctx, b, log)
		if ctx.Err() != nil {
			errs = append(errs, errors.New("interrupted"))
			break
		}
		if err != nil {
			fmt.Fprintln(log, "bench:", err)
			errs = append(errs, err)
		}
		if len(row.Series) > 0 {
			report.Rows = append(report.Rows, row)
		}
	}
	errs = append(errs, report.print(out))
	if r.o.json != "" {
		errs = append(errs, report.write(r.o.json))
	}
	return errors.Join(errs...)
}

// loadAverage is the machine's load from other processes.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) == 0 {
		return ""
	}
	return fields[0]
}
