package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/varvelog/varve/testenv/faultproxy"
)

// options are the flags.
type options struct {
	varve    string
	before   string
	dir      string
	json     string
	profiles string
	only     *regexp.Regexp
	table    bool
	stores   []string
	duration time.Duration
	runs     int
	fill     int64
	rate     float64
	delay    faultproxy.Fault // of the store far
	serve    []string
	kafka    bool
	peer     string
	peerPid  int
	peerLogs string
	list     bool
	memory   bool
	archive  bool
	soak     bool
}

func parse(args []string) (options, error) {
	var o options
	var only, fill, delay string
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringVar(&only, "only", "", "run the cases whose names match this regular expression")
	flags.BoolVar(&o.list, "list", false, "list the names of the cases")
	flags.BoolVar(&o.table, "table", false, "the cases that a new user measures first, instead of the grid of sizes and partitions")
	flags.BoolVar(&o.memory, "memory", false, "instead of all cases, put three loads on nodes and compare their memory with their budgets")
	flags.BoolVar(&o.archive, "archive", false, "instead of all cases, the studies of an archive, on MinIO")
	flags.BoolVar(&o.soak, "soak", false, "instead of all cases, one long run on MinIO: --fill bytes in --duration, with kills and checks")
	flags.StringSliceVar(&o.stores, "stores", []string{fileStore, minioStore}, "where the bucket is: file, minio, or far (MinIO behind --store-delay); the table uses all")
	flags.DurationVar(&o.duration, "duration", 3*time.Second, "how long each load lasts")
	flags.IntVar(&o.runs, "runs", 1, "run each case as often on each system in turn; the median counts")
	flags.StringVar(&fill, "fill", "192MB", "bytes of records that cases of reading read, and that studies of --archive write")
	flags.Float64Var(&o.rate, "rate", 1000, "records a second of the cases of latency")
	flags.StringVar(&delay, "store-delay", "30ms,150ms", "delay of requests to the store far: the median, or the median and the 99th percentile")
	flags.StringArrayVar(&o.serve, "serve", nil, "one more `flag` for varve serve, repeatable, as in --serve=--flush-interval=20ms")
	flags.BoolVar(&o.kafka, "kafka", false, "compare with Apache Kafka "+kafkaVersion+", which Maven fetches, with and without its fsync")
	flags.StringVar(&o.peer, "peer", "", "host:port of another broker to compare with")
	flags.IntVar(&o.peerPid, "peer-pid", 0, "process id of the other broker, which must run on this machine")
	flags.StringVar(&o.peerLogs, "peer-logs", "", "the other broker's folder of logs: their pages leave memory before a case of cold reading")
	flags.StringVar(&o.varve, "varve", os.Getenv("VARVE_BIN"), "path of the varve binary; it is built if there is none (default $VARVE_BIN)")
	flags.StringVar(&o.before, "before", "", "path of an older varve binary to compare with")
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
	if err != nil || size < 1<<20 || size > 1<<36 {
		return o, fmt.Errorf("--fill %s: write a size from 1MB to 64GB", fill)
	}
	o.fill = int64(size)
	if o.delay, err = parseDelay(delay); err != nil {
		return o, err
	}
	if err := o.check(flags.NArg()); err != nil {
		return o, err
	}
	if flags.Changed("store-delay") && !uses(chosen(&o), farStore) {
		return o, errors.New("--store-delay is of the store far, and no such case is chosen: add --stores far or --table")
	}
	return o, nil
}

func (o *options) check(arguments int) error {
	for _, store := range o.stores {
		if store != fileStore && store != minioStore && store != farStore {
			return fmt.Errorf("--stores %s: there are %s, %s and %s", store, fileStore, minioStore, farStore)
		}
	}
	switch {
	case arguments > 0:
		return errors.New("nothing may follow the flags")
	case o.duration < 100*time.Millisecond || o.runs < 1 || o.rate <= 0:
		return errors.New("--duration must be at least 100ms, --runs 1, and --rate above 0")
	case (o.peer == "") != (o.peerPid == 0):
		return errors.New("--peer and --peer-pid go together")
	case o.peerLogs != "" && o.peer == "":
		return errors.New("--peer-logs needs --peer")
	}
	return nil
}

// parseDelay reads a median, or a median and a 99th percentile.
func parseDelay(text string) (faultproxy.Fault, error) {
	fault := faultproxy.Fault{Kind: faultproxy.Latency, Rate: 1}
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
