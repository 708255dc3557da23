package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/miniod"
)

// Row is the outcome of a case.
type Row struct {
	bench
	Ours  Outcome  `json:"varve"`
	Peer  *Outcome `json:"peer,omitempty"`
	Limit *limit   `json:"limit,omitempty"` // the lowest of Limits
	// Ratio is our throughput divided by that of the limit. For latencies it is
	// our median divided by the limit's.
	Ratio  float64 `json:"ratio,omitempty"`
	Limits []limit `json:"limits"`
}

// Outcome is the result of a load on one broker.
type Outcome struct {
	RecordsPerSecond float64 `json:"records_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
	ClientCPUPerGB   float64 `json:"client_cpu_seconds_per_gb"`
	Cost
	Acknowledged *Quantiles `json:"acknowledged,omitempty"`
	EndToEnd     *Quantiles `json:"end_to_end,omitempty"`
}

// runner runs cases.
type runner struct {
	o     options
	minio *miniod.Server
	proxy *faultproxy.Proxy // nil: no delay
	raw   *minio.Client     // through the proxy, if there is one
	log   func(format string, a ...any)
}

// start starts the servers that the cases share.
func (r *runner) start(ctx context.Context) error {
	if !slices.Contains(r.o.stores, minioStore) {
		return nil
	}
	binary, err := miniod.Find()
	if err != nil {
		return fmt.Errorf("%w; or leave it out with --stores file", err)
	}
	if r.minio, err = miniod.Start(ctx, miniod.Config{Binary: binary, Dir: filepath.Join(r.o.dir, "minio")}); err != nil {
		return err
	}
	if r.o.delay.Delay > 0 {
		if r.proxy, err = faultproxy.Start(r.minio.Address(), 1); err != nil {
			return err
		}
		r.proxy.Set(r.o.delay)
	}
	r.raw, err = minio.New(r.address(), &minio.Options{Creds: credentials.NewStaticV4(miniod.AccessKey, miniod.SecretKey, "")})
	return err
}

func (r *runner) address() string {
	if r.proxy != nil {
		return r.proxy.Address()
	}
	return r.minio.Address()
}

func (r *runner) close() error {
	var errs []error
	if r.proxy != nil {
		errs = append(errs, r.proxy.Close())
	}
	if r.minio != nil {
		errs = append(errs, r.minio.Kill())
	}
	return errors.Join(errs...)
}

// measure runs a case as often as the flags say, and returns the run of median
// throughput. For latencies it returns that of the median of their medians.
func (r *runner) measure(ctx context.Context, b bench) (Row, error) {
	var rows []Row
	for range r.o.repeat {
		row, err := r.once(ctx, b)
		if err != nil {
			return row, fmt.Errorf("%s: %w", b.Name, err)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(x, y Row) int {
		if b.Kind == latencyKind {
			return compare(x.Ours.EndToEnd.P50, y.Ours.EndToEnd.P50)
		}
		return compare(x.Ours.BytesPerSecond, y.Ours.BytesPerSecond)
	})
	return rows[len(rows)/2], nil
}

func compare(x, y float64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// once runs a case on a fresh node, then on the peer, then measures the limits.
func (r *runner) once(ctx context.Context, b bench) (Row, error) {
	row := Row{bench: b}
	dir, err := os.MkdirTemp(r.o.dir, "case-")
	if err != nil {
		return row, err
	}
	defer os.RemoveAll(dir)
	bucket := "bench-" + strings.ToLower(rand.Text())
	if row.Ours, err = r.onVarve(ctx, b, dir, bucket); err != nil {
		return row, err
	}
	if r.o.peer != "" && b.Kind != coldKind {
		peer := &broker{kafka: r.o.peer, pid: r.o.peerPid}
		resetPeak(peer.pid)
		outcome, err := r.onBroker(ctx, b, peer, nil)
		if err != nil {
			return row, fmt.Errorf("peer: %w", err)
		}
		row.Peer = &outcome
	}
	if row.Limits, err = r.limits(ctx, b, dir, bucket, row.Ours.Cost); err != nil {
		return row, err
	}
	row.judge()
	if b.Store == minioStore {
		err = r.raw.RemoveBucketWithOptions(ctx, bucket, minio.RemoveBucketOptions{ForceDelete: true})
	}
	return row, err
}

// judge finds the lowest limit.
func (row *Row) judge() {
	for i := range row.Limits {
		l := &row.Limits[i]
		if !l.Aside && (row.Limit == nil || l.BytesPerSecond < row.Limit.BytesPerSecond) {
			row.Limit = l
		}
	}
	switch {
	case row.Limit == nil:
	case row.Kind == latencyKind:
		row.Ratio = row.Ours.EndToEnd.P50 / row.Limit.Latency.P50
	default:
		row.Ratio = row.Ours.BytesPerSecond / row.Limit.BytesPerSecond
	}
}

func (r *runner) onVarve(ctx context.Context, b bench, dir, bucket string) (Outcome, error) {
	args := []string{"--bucket", "file://" + filepath.Join(dir, "bucket"), "--create-bucket"}
	if b.Store == minioStore {
		args[1] = "minio://" + r.address() + "/" + bucket + "?secure=false"
	}
	n, err := startNode(ctx, r.o.varve, dir, append(args, r.o.serve...))
	if err != nil {
		return Outcome{}, err
	}
	running := n
	defer func() { _ = running.process.Kill() }() // its data is deleted as well
	var forget func() (*node, error)
	if b.Kind == coldKind {
		forget = func() (*node, error) {
			again, err := n.forget(ctx, r.o.varve)
			if err == nil {
				running = again
			}
			return again, err
		}
	}
	outcome, err := r.onBroker(ctx, b, &n.broker, forget)
	if err != nil {
		err = fmt.Errorf("%w\nthe node printed:\n%s", err, running.process.Output())
	}
	return outcome, err
}

// onBroker puts the case's load on a broker. If the case needs it, forget ends
// the broker and starts one that has nothing in memory.
func (r *runner) onBroker(ctx context.Context, b bench, on *broker, forget func() (*node, error)) (Outcome, error) {
	topic := "varve-bench-" + strings.ToLower(rand.Text())
	remove, err := on.createTopic(ctx, topic, b.Partitions)
	if err != nil {
		return Outcome{}, err
	}
	defer remove()
	if b.Kind == hotKind || b.Kind == coldKind {
		records := r.o.fill / int64(b.RecordSize)
		if _, err := load(ctx, r.o.varve, on.kafka, "produce", topic, "--duration", "0", "--records", fmt.Sprint(records),
			"--record-size", fmt.Sprint(b.RecordSize), "--acks", b.Acks); err != nil {
			return Outcome{}, err
		}
		if _, err := on.settle(ctx); err != nil {
			return Outcome{}, err
		}
	}
	if forget != nil {
		n, err := forget()
		if err != nil {
			return Outcome{}, err
		}
		on = &n.broker
	}
	if b.Kind == hotKind {
		if _, err := load(ctx, r.o.varve, on.kafka, "consume", topic); err != nil { // into its caches
			return Outcome{}, err
		}
	}
	return r.loaded(ctx, b, on, topic)
}

// loaded runs the load that is measured.
func (r *runner) loaded(ctx context.Context, b bench, on *broker, topic string) (Outcome, error) {
	before, err := on.counters(ctx)
	if err != nil {
		return Outcome{}, err
	}
	profiled := r.profile(ctx, b, on)
	f, err := load(ctx, r.o.varve, on.kafka, r.loadArgs(b, topic)...)
	if err = errors.Join(err, <-profiled); err != nil {
		return Outcome{}, err
	}
	after, err := on.settle(ctx)
	if err != nil {
		return Outcome{}, err
	}
	return outcome(b, f, cost(before, after, f.Figure.Bytes, on.http != "")), nil
}

func outcome(b bench, f figure, c Cost) Outcome {
	o := Outcome{RecordsPerSecond: f.Figure.RecordsPerSecond, BytesPerSecond: f.Figure.BytesPerSecond, Cost: c}
	if f.Figure.Bytes > 0 {
		o.ClientCPUPerGB = f.ClientCPU / (float64(f.Figure.Bytes) / 1e9)
	}
	if b.Kind == latencyKind {
		o.Acknowledged, o.EndToEnd = &f.Figure.Acknowledged, &f.Figure.EndToEnd
	}
	return o
}

func (r *runner) loadArgs(b bench, topic string) []string {
	span := r.o.duration.String()
	switch b.Kind {
	case hotKind:
		return []string{"consume", topic, "--duration", span}
	case coldKind:
		return []string{"consume", topic}
	case latencyKind:
		return []string{"latency", topic, "--duration", span, "--rate", fmt.Sprint(r.o.rate),
			"--record-size", fmt.Sprint(b.RecordSize), "--acks", b.Acks}
	}
	return append([]string{"produce", topic, "--duration", span, "--record-size", fmt.Sprint(b.RecordSize), "--acks", b.Acks}, b.clientFlags()...)
}

// profile takes a CPU profile of our node during the load, if the flags ask for
// it.
func (r *runner) profile(ctx context.Context, b bench, on *broker) <-chan error {
	done := make(chan error, 1)
	if r.o.profiles == "" || on.http == "" {
		done <- nil
		return done
	}
	path := filepath.Join(r.o.profiles, strings.ReplaceAll(b.Name, "/", "_")+".pprof")
	go func() { done <- on.profile(ctx, max(1, int(r.o.duration/time.Second)), path) }()
	return done
}

// limits measures the limits of the machine for a case, right after it: on a
// machine with other users, later is another machine.
func (r *runner) limits(ctx context.Context, b bench, dir, bucket string, c Cost) (all []limit, err error) {
	span := r.o.duration / 4
	add := func(l limit, failed error) {
		all, err = append(all, l), errors.Join(err, failed)
	}
	put, get := max(c.PutSize, 1<<10), max(c.GetSize, 1<<20)
	if b.Kind == latencyKind {
		get = 0
	}
	switch {
	case b.Kind == coldKind && b.Store == minioStore:
		add(rawGet(ctx, r.raw, bucket, get, span))
	case b.Kind == coldKind:
		add(rawFileGet(ctx, dir, get, span))
	case b.Kind == hotKind:
	case b.Acks == "1":
		add(rawSync(ctx, dir, span))
	case b.Store == minioStore:
		add(rawPut(ctx, r.raw, bucket, put, span))
		add(rawPutInOrder(ctx, r.raw, bucket, put, span))
	default:
		add(rawFilePut(ctx, dir, put, span))
	}
	if err != nil || b.Kind == latencyKind {
		return all, err
	}
	add(r.clientLimit(ctx, b))
	return all, err
}

// clientLimit is the throughput of the load generator with a broker that does
// nothing.
func (r *runner) clientLimit(ctx context.Context, b bench) (limit, error) {
	reads := b.Kind == hotKind || b.Kind == coldKind
	t, err := startTrivial(ctx, reads)
	if err != nil {
		return limit{}, err
	}
	defer func() { _ = t.stop() }()
	half := *r
	half.o.duration /= 2
	b.Kind = map[bool]kind{true: hotKind, false: produceKind}[reads]
	o, err := half.onBroker(ctx, b, &t.broker, nil)
	return limit{Name: "client alone", BytesPerSecond: o.BytesPerSecond}, err
}
