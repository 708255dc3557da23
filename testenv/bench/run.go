package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ours is the name of the varve that is measured.
const ours = "varve"

// patience is how long a system may take for the runs of one case. If it has
// taken longer, it gets no more of them, and its figure is that of fewer runs.
const patience = time.Minute

// runner runs cases.
type runner struct {
	o       options
	systems []system // ours first
	stores  *stores
	java    *java // nil: not asked for
}

// start starts the servers that the cases share.
func (r *runner) start(ctx context.Context, list []bench, log io.Writer) (err error) {
	for _, v := range []varveSystem{{label: ours, binary: r.o.varve}, {label: "before", binary: r.o.before}} {
		if v.binary == "" {
			continue
		}
		v.serve = r.o.serve
		if err := v.learn(ctx); err != nil {
			return err
		}
		r.systems = append(r.systems, v)
	}
	if r.o.peer != "" {
		r.systems = append(r.systems, peerSystem{broker: broker{kafka: r.o.peer, pid: r.o.peerPid}, logs: r.o.peerLogs})
	}
	if r.stores, err = startStores(ctx, &r.o, list); err != nil || !r.o.kafka {
		return err
	}
	return r.startKafka(ctx, log)
}

func (r *runner) startKafka(ctx context.Context, log io.Writer) error {
	java, err := findJava(ctx, log)
	if err != nil {
		return err
	}
	r.java = &java
	for _, s := range []*kafkaSystem{
		{java: java, label: "kafka"},
		{java: java, label: "kafka fsync", fsync: true},
	} {
		fmt.Fprintf(log, "starting %s %s\n", s.label, kafkaVersion)
		r.systems = append(r.systems, s)
		if err := s.open(ctx, r.o.dir); err != nil {
			return err
		}
		if err := r.warm(ctx, s); err != nil {
			return fmt.Errorf("warm %s up: %w", s.label, err)
		}
	}
	return nil
}

// warm puts loads on Kafka that do not count: its virtual machine compiles the
// code of a path when it has been used for a while.
func (r *runner) warm(ctx context.Context, s *kafkaSystem) error {
	quick := *r
	quick.o.fill = 64 << 20
	for _, b := range []bench{
		{Kind: produceKind, RecordSize: 200, Partitions: 12, Acks: "all"},
		{Kind: hotKind, RecordSize: 1024, Partitions: 12, Acks: "1"},
		{Kind: syncKind, RecordSize: 200, Partitions: 1, Acks: "all"},
		{Kind: commitKind, Partitions: 1},
	} {
		if _, err := quick.on(ctx, s, b, place{}); err != nil && !errors.Is(err, errCannot) {
			return err
		}
	}
	return nil
}

func (r *runner) close() error {
	var errs []error
	for _, s := range r.systems {
		if s, ok := s.(*kafkaSystem); ok {
			errs = append(errs, s.close())
		}
	}
	if r.stores != nil {
		errs = append(errs, r.stores.close())
	}
	return errors.Join(errs...)
}

// measure runs a case on each system in turn, as often as the flags say. A
// system that fails drops out; the others' figures stand.
func (r *runner) measure(ctx context.Context, b bench, log io.Writer) (Row, error) {
	row := Row{bench: b, Unit: b.Kind.measure().unit, LowerIsBetter: b.Kind.measure().lower, Per: b.Kind.measure().per}
	if why := r.lacks(b); why != "" {
		fmt.Fprintln(log, " skipped:", why)
		return row, nil
	}
	systems := slices.Clone(r.systems)
	if b.alone {
		systems = slices.DeleteFunc(systems, func(s system) bool { _, varve := s.(varveSystem); return !varve })
	}
	began := time.Now()
	outcomes, spent := map[string][]Outcome{}, map[string]time.Duration{}
	var limits [][]limit
	var errs []error
	for range r.o.runs {
		systems = slices.DeleteFunc(systems, func(s system) bool {
			start := time.Now()
			outcome, found, err := r.once(ctx, s, b)
			spent[s.name()] += time.Since(start)
			if err != nil {
				if !errors.Is(err, errCannot) {
					errs = append(errs, fmt.Errorf("%s on %s: %w", b.Name, s.name(), err))
				}
				return true
			}
			outcomes[s.name()] = append(outcomes[s.name()], outcome)
			if s.name() == ours {
				limits = append(limits, found)
			}
			return spent[s.name()] > patience
		})
		if ctx.Err() != nil {
			return row, ctx.Err()
		}
	}
	for _, s := range r.systems {
		if all := outcomes[s.name()]; len(all) > 0 {
			row.add(s.name(), all, limits)
		}
	}
	fmt.Fprintf(log, " %.0f s\n", time.Since(began).Seconds())
	return row, errors.Join(errs...)
}

// lacks returns why a case cannot run, or nothing.
func (r *runner) lacks(b bench) string {
	v, varve := r.systems[0].(varveSystem)
	switch {
	case varve && v.lacks(b):
		return "this varve has no " + putsFlag
	case b.Kind == javaKind && r.java == nil:
		return "Kafka's producer needs --kafka"
	}
	return ""
}

// once runs a case on a system and, if it is our varve, measures the limits.
func (r *runner) once(ctx context.Context, s system, b bench) (o Outcome, limits []limit, err error) {
	p, err := r.stores.newPlace(r.o.dir, b.Store)
	if err != nil {
		return o, nil, err
	}
	defer func() { err = errors.Join(err, p.remove(context.WithoutCancel(ctx)), syncAll(r.o.dir)) }()
	if o, err = r.on(ctx, s, b, p); err != nil || s.name() != ours {
		return o, nil, err
	}
	limits, err = r.limits(ctx, b, p, o.Cost)
	return o, limits, err
}

// on starts a system and runs a case on it.
func (r *runner) on(ctx context.Context, s system, b bench, p place) (Outcome, error) {
	t, err := s.start(ctx, b, p)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { t.end() }()
	o, err := r.onBroker(ctx, b, t, s.name() == ours)
	if output := t.output(); err != nil && !errors.Is(err, errCannot) && output != "" {
		err = fmt.Errorf("%w\nthe broker printed:\n%s", err, output)
	}
	return o, err
}

// onBroker puts the case's load on a broker.
func (r *runner) onBroker(ctx context.Context, b bench, on *target, profiled bool) (Outcome, error) {
	topic := "varve-bench-" + strings.ToLower(rand.Text())
	if b.Kind != startKind {
		remove, err := on.createTopic(ctx, topic, b.Partitions)
		if err != nil {
			return Outcome{}, err
		}
		defer remove()
	}
	if err := r.fill(ctx, b, on, topic); err != nil {
		return Outcome{}, err
	}
	j, err := r.prepare(ctx, b, on, topic)
	if err != nil {
		return Outcome{}, err
	}
	defer j.close()
	var before counters
	if b.Kind != startKind { // its cost is that since the process began
		if before, err = on.counters(ctx); err != nil {
			return Outcome{}, err
		}
	}
	profile := r.profile(ctx, b, on, profiled)
	res, err := j.run(ctx)
	if err = errors.Join(err, <-profile); err != nil {
		return Outcome{}, err
	}
	after, err := on.settle(ctx)
	if err != nil {
		return Outcome{}, err
	}
	return b.outcome(res, before, after, on.http != ""), nil
}

// fill writes the records that a case reads, and brings the broker into the
// state in which it is measured.
func (r *runner) fill(ctx context.Context, b bench, on *target, topic string) error {
	if b.Kind == offsetsKind {
		return fillPartitions(ctx, on.kafka, topic, b.Partitions)
	}
	if !b.Kind.reads() {
		return nil
	}
	records := r.o.fill / int64(b.RecordSize)
	if _, err := load(ctx, r.o.varve, on.kafka, "produce", topic, "--duration", "0", "--records", fmt.Sprint(records),
		"--record-size", fmt.Sprint(b.RecordSize), "--acks", b.Acks); err != nil {
		return err
	}
	if _, err := on.settle(ctx); err != nil {
		return err
	}
	if b.Kind == coldKind {
		return on.forget(ctx)
	}
	_, err := load(ctx, r.o.varve, on.kafka, "consume", topic) // into its caches
	return err
}

// profile takes a CPU profile of our node during the load, if the flags ask for
// it.
func (r *runner) profile(ctx context.Context, b bench, on *target, wanted bool) <-chan error {
	done := make(chan error, 1)
	if r.o.profiles == "" || !wanted || on.http == "" {
		done <- nil
		return done
	}
	path := filepath.Join(r.o.profiles, strings.ReplaceAll(b.Name, "/", "_")+".pprof")
	go func() { done <- on.profile(ctx, max(1, int(r.o.duration/time.Second)), path) }()
	return done
}
