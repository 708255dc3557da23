// Command bench measures varve next to the limits of the machine, the store and
// the network, and prints one table.
//
//	bench [--only REGEXP] [--duration 3s] [--repeat 1] [--store-delay 30ms,150ms] [--peer HOST:PORT --peer-pid N] [flags]
//
// Each case runs the varve binary as a node with a fresh bucket, in a folder or
// in a MinIO of this program's own. It puts a load on the node with `varve
// bench` (franz-go), another process. Next to each figure stands a limit,
// measured right after it: the lowest of three. These are fdatasync into a file
// that has its blocks, PUT or GET at the object sizes of the case, and the load
// generator on a broker that does nothing. The table also has the cost to the
// node: CPU time, peak memory, requests to the store, allocations.
//
// A peer, any other broker that speaks Kafka's protocol, gets the same load.
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
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/varvelog/varve/testenv/faultproxy"
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
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	varve    string
	dir      string
	json     string
	profiles string
	only     *regexp.Regexp
	stores   []string
	duration time.Duration
	repeat   int
	fill     int64
	rate     float64
	delay    faultproxy.Fault
	serve    []string
	peer     string
	peerPid  int
	list     bool
}

func parse(args []string) (options, error) {
	var o options
	var only, fill, delay string
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringVar(&only, "only", "", "run the cases whose names match this regular expression")
	flags.BoolVar(&o.list, "list", false, "list the names of the cases")
	flags.StringSliceVar(&o.stores, "stores", []string{fileStore, minioStore}, "where the bucket is: file, minio")
	flags.DurationVar(&o.duration, "duration", 3*time.Second, "how long each load lasts")
	flags.IntVar(&o.repeat, "repeat", 1, "run each case as often, and take the run of median throughput")
	flags.StringVar(&fill, "fill", "192MB", "bytes of records that cases of reading read")
	flags.Float64Var(&o.rate, "rate", 1000, "records a second of the cases of latency")
	flags.StringVar(&delay, "store-delay", "", "delay requests to MinIO: the median, or the median and the 99th percentile, as in 30ms,150ms")
	flags.StringArrayVar(&o.serve, "serve", nil, "one more `flag` for varve serve, repeatable, as in --serve=--flush-interval=20ms")
	flags.StringVar(&o.peer, "peer", "", "host:port of another broker to compare with")
	flags.IntVar(&o.peerPid, "peer-pid", 0, "process id of the other broker, which must run on this machine")
	flags.StringVar(&o.varve, "varve", os.Getenv("VARVE_BIN"), "path of the varve binary; it is built if there is none (default $VARVE_BIN)")
	flags.StringVar(&o.json, "json", "", "file for all figures in JSON")
	flags.StringVar(&o.profiles, "profiles", "", "folder for a CPU profile of the node in each case")
	flags.StringVar(&o.dir, "dir", "", "folder for data and buckets (default a temporary one)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("--only: %w", err)
	}
	size, err := humanize.ParseBytes(fill)
	if err != nil || size < 1<<20 || size > 1<<34 {
		return o, fmt.Errorf("--fill %s: write a size from 1MB to 16GB", fill)
	}
	o.fill = int64(size)
	if o.delay, err = parseDelay(delay); err != nil {
		return o, err
	}
	return o, o.check(flags.NArg())
}

func (o *options) check(arguments int) error {
	for _, store := range o.stores {
		if store != fileStore && store != minioStore {
			return fmt.Errorf("--stores %s: there are %s and %s", store, fileStore, minioStore)
		}
	}
	switch {
	case arguments > 0:
		return errors.New("nothing may follow the flags")
	case o.duration < 100*time.Millisecond || o.repeat < 1 || o.rate <= 0:
		return errors.New("--duration must be at least 100ms, --repeat 1, and --rate above 0")
	case (o.peer == "") != (o.peerPid == 0):
		return errors.New("--peer and --peer-pid go together")
	}
	return nil
}

// parseDelay reads a median, or a median and a 99th percentile.
func parseDelay(text string) (faultproxy.Fault, error) {
	fault := faultproxy.Fault{Kind: faultproxy.Latency, Rate: 1}
	if text == "" {
		return fault, nil
	}
	median, tail, both := strings.Cut(text, ",")
	var err error
	if fault.Delay, err = time.ParseDuration(median); err == nil && both {
		fault.P99, err = time.ParseDuration(tail)
	}
	if err != nil || fault.Delay <= 0 || both && fault.P99 < fault.Delay {
		return fault, fmt.Errorf("--store-delay %s: write one duration, or two with the longer last, as in 30ms,150ms", text)
	}
	return fault, nil
}

func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	list := chosen(o.stores, o.only)
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
	if err := r.start(ctx); err != nil {
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
	report := Report{Repeat: r.o.repeat, Duration: r.o.duration.Seconds(), System: system{
		CPUs: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Load: loadAverage(),
		Serve: strings.Join(r.o.serve, " "), Peer: r.o.peer,
	}}
	if r.o.delay.Delay > 0 {
		report.System.StoreDelay = fmt.Sprintf("%v at the median, %v at the 99th percentile", r.o.delay.Delay, max(r.o.delay.Delay, r.o.delay.P99))
	}
	var errs []error
	var err error
	if report.Loopback, err = rawLoopback(ctx, r.o.duration/4); err != nil {
		return err
	}
	for i, b := range list {
		fmt.Fprintf(log, "[%d/%d] %s\n", i+1, len(list), b.Name)
		row, err := r.measure(ctx, b)
		if ctx.Err() != nil {
			errs = append(errs, errors.New("interrupted"))
			break
		}
		if err != nil {
			fmt.Fprintln(log, "bench:", err)
			errs = append(errs, err)
			continue
		}
		report.Rows = append(report.Rows, row)
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
