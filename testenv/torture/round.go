package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/senders"
)

const (
	startLimit  = 2 * time.Minute
	drainLimit  = 200 * time.Second // until the system has recovered from the last fault
	readLimit   = 10 * time.Minute  // of the full reads
	brokenLimit = 30 * time.Second  // of the full reads of a log that was not drained
	verifyLimit = 10 * time.Minute
	sayEvery    = 30 * time.Second
)

// round is one run against a fresh cluster.
type round struct {
	options
	seed    uint64
	dir     string
	began   time.Time
	history *history.History
	cluster *cluster
	nemesis *nemesis
	disturbances
	lookUps atomic.Int64 // answered
	slow    *slowLog
	keyed   *compactedLog
	fading  []*fadingLog
	passing *passing
	rereads rereads
	crew    *crew // of a round with a group

	families []senders.Family // of producers besides franz-go
	saying   sync.Mutex
	report   report
}

// play plays a round and reports it. An error is one of the tool or the
// machine; anomalies are in the report.
func play(ctx context.Context, o options, seed uint64, dir string) (*report, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r := &round{options: o, seed: seed, dir: dir, began: time.Now()}
	r.history = history.New(partitions, func() time.Duration { return time.Since(r.began) })
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var err error
	if r.cluster, err = startCluster(starting, o, seed, dir, r.history, &r.disturbances); err != nil {
		return nil, fmt.Errorf("start the cluster (logs in %s): %w", dir, err)
	}
	if o.members > 0 && !o.several {
		err = r.runGroup(ctx, starting)
	} else {
		err = r.run(ctx, starting)
	}
	return &r.report, errors.Join(err, r.cluster.close())
}

func (r *round) run(ctx, starting context.Context) error {
	if err := r.createTopic(starting, topic, partitions, nil); err != nil {
		return err
	}
	if err := r.createOthers(starting); err != nil {
		return err
	}
	if r.several {
		if err := r.findFamilies(ctx); err != nil { // it may install them
			return err
		}
		if err := r.gather(starting); err != nil {
			return err
		}
	}
	r.nemesis = &nemesis{cluster: r.cluster, disturbing: &r.disturbances, say: r.detail, tooLate: 2 * r.interval, done: map[string]int{}}
	if err := r.torture(ctx); err != nil {
		return err
	}
	if err := r.readEverything(ctx); err != nil {
		return err
	}
	if err := r.stopAndVerify(ctx); err != nil {
		return err
	}
	if err := r.readForeign(ctx); err != nil {
		return err
	}
	if r.crew != nil {
		r.report.Group = r.crew.result()
	}
	r.report.check(r.history)
	return errors.Join(r.fillReport(), ctx.Err())
}

func (r *round) say(format string, args ...any) {
	r.saying.Lock()
	defer r.saying.Unlock()
	fmt.Fprintf(r.out, "%7.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *round) detail(format string, args ...any) {
	if r.verbose {
		r.say(format, args...)
	}
}

func (r *round) createTopic(ctx context.Context, name string, count int, configs map[string]string) error {
	client, err := newClient(r.cluster.clients)
	if err != nil {
		return err
	}
	defer client.Close()
	values := map[string]*string{}
	for name, value := range configs {
		values[name] = &value
	}
	made, err := kadm.NewClient(client).CreateTopic(ctx, int32(count), 1, values, name)
	if err := errors.Join(err, made.Err); err != nil {
		return fmt.Errorf("create the topic: %w", err)
	}
	return nil
}

// alterTopic sets configs of a topic. No fault may be under way.
func (r *round) alterTopic(ctx context.Context, name string, configs map[string]string) error {
	client, err := newClient(r.cluster.clients)
	if err != nil {
		return err
	}
	defer client.Close()
	var altered []kadm.AlterConfig
	for name, value := range configs {
		altered = append(altered, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	resp, err := kadm.NewClient(client).AlterTopicConfigs(ctx, altered, name)
	for _, one := range resp {
		err = errors.Join(err, one.Err)
	}
	if err != nil {
		return fmt.Errorf("alter topic %s: %w", name, err)
	}
	return nil
}

// torture runs clients and faults at the same time, then ends all faults. It
// waits until the clients know the outcome of everything they sent, and have
// read it.
func (r *round) torture(ctx context.Context) error {
	began := time.Now()
	phase, endPhase := context.WithCancel(ctx) // producers send
	defer endPhase()
	reading, endReading := context.WithCancel(ctx) // readers read whatever comes
	defer endReading()
	hard, giveUp := context.WithCancel(ctx)
	defer giveUp()
	writers, readers := new(clients), new(clients)
	r.startSenders(writers, phase, hard)
	r.startReaders(readers, reading, hard)
	chatter := make(chan struct{})
	go r.chat(reading, chatter)
	if r.crew != nil {
		r.crew.begin(phase, reading, hard, writers, readers)
		if err := r.crew.harass(ctx, phase, writers, readers); err != nil {
			return err
		}
		began = time.Now()
	}

	steps := r.plan()
	err := r.nemesis.run(ctx, began, steps)
	sleep(ctx, time.Until(began.Add(r.duration)))
	err = errors.Join(err, r.goOn(ctx))
	r.say("healed; %d requests are still to arrive late", r.cluster.late())
	healed := time.Now()
	limit := time.AfterFunc(drainLimit, giveUp)
	defer limit.Stop()

	endPhase()
	err = errors.Join(err, writers.wait())
	r.awaitLate(hard)
	if r.crew != nil {
		r.crew.awaitDone(hard)
	}
	endReading()
	err = errors.Join(err, readers.wait())
	<-chatter
	for _, n := range r.cluster.nodes {
		if awaitReady(hard, n) != nil {
			r.history.Note(history.Stuck, "%s is not ready %v after the last fault", n.name, drainLimit)
		}
	}
	r.report.DrainSeconds = time.Since(healed).Seconds()
	r.say("drained in %.1f s", r.report.DrainSeconds)
	return err
}

// plan draws the schedule of the round.
func (r *round) plan() []step {
	if r.several {
		return planSeveral(r.seed, r.duration, r.interval, r.faults)
	}
	return plan(r.seed, r.duration, r.interval, r.faults)
}

// awaitLate waits until all requests that the network held back have arrived,
// and have had some time to take effect in the store.
func (r *round) awaitLate(hard context.Context) {
	for r.cluster.late() > 0 && hard.Err() == nil {
		sleep(hard, 100*time.Millisecond)
	}
	sleep(hard, time.Second)
}

func (r *round) startSenders(writers *clients, ctx, hard context.Context) {
	address := r.cluster.clients
	for _, w := range workloads() {
		writers.start(func() error { return w.produce(ctx, hard, r.history, address, r.rate) })
	}
	writers.start(func() error { return produceRefused(ctx, r.history, address) })
	writers.start(func() error { return r.slow.produce(ctx, hard, r.seed, address) })
	writers.start(func() error { return r.keyed.produce(ctx, hard, r.seed, address) })
	for _, f := range r.families {
		writers.start(func() error { return produceBy(ctx, hard, r.history, f, address, r.rate*familyShare) })
	}
	if kcat := findKcat(); kcat != "" {
		writers.start(func() error { return kcatProduce(ctx, hard, r.history, kcat, address) })
	}
	for _, l := range r.fading {
		writers.start(func() error { return l.produce(ctx, hard, address) })
		switch l.topic {
		case trimmedTopic:
			writers.start(func() error { return l.trim(ctx, r.seed, address) })
		case briefTopic:
			writers.start(func() error { return l.keep(ctx, address) })
		}
	}
	writers.start(func() error { return r.passing.run(ctx, hard) })
}

func (r *round) startReaders(readers *clients, ctx, hard context.Context) {
	leader, follower := r.cluster.clients, r.cluster.reads
	readers.start(func() error { return tail(ctx, hard, r.history, "reader at the leader", leader, r.acknowledged) })
	readers.start(func() error { return tail(ctx, hard, r.history, "reader at the follower", follower, r.acknowledged) })
	readers.start(func() error { return hop(ctx, r.history, r.seed, leader, follower) })
	readers.start(func() error {
		return askOffsets(ctx, r.history, func() { r.lookUps.Add(1) }, leader, follower)
	})
	readers.start(func() error { return r.reread(ctx, leader, follower) })
	for _, n := range r.cluster.nodes {
		readers.start(func() error { return watchEpochs(ctx, r.history, n, func() { r.lookUps.Add(1) }) })
	}
	for _, l := range r.fading {
		readers.start(func() error { return l.reread(ctx, r.history, leader, follower) })
	}
}

func (r *round) acknowledged() (ends [partitions]int64) {
	for partition := range ends {
		ends[partition] = r.history.Acknowledged(int32(partition))
	}
	return ends
}

// chat prints at times how far the log is, until ctx ends.
func (r *round) chat(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	for {
		sleep(ctx, sayEvery)
		if ctx.Err() != nil {
			return
		}
		records := int64(0)
		for partition := range int32(partitions) {
			records += r.history.Committed(partition)
		}
		r.say("%d records committed", records)
	}
}

// readEverything reads the log from its beginning, from each node and with each
// client.
func (r *round) readEverything(ctx context.Context) error {
	limit := readLimit
	if r.report.DrainSeconds >= drainLimit.Seconds() {
		limit = brokenLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	leader, follower := r.cluster.clients, r.cluster.reads
	err := errors.Join(
		readAll(ctx, r.history, "full read from the leader", leader),
		readAll(ctx, r.history, "full read from the follower", follower),
		r.slow.check(ctx, r.history, leader),
		r.keyed.check(ctx, r.history, leader))
	for _, l := range r.fading {
		err = errors.Join(err, l.check(ctx, r.history, leader, follower))
	}
	if kcat := findKcat(); kcat != "" && err == nil {
		err = kcatReadAll(ctx, r.history, "full read by kcat", kcat, leader)
	}
	return err
}

// stopAndVerify ends the leader as an operator does, and checks the bucket.
func (r *round) stopAndVerify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	if err := r.cluster.retire(); err != nil {
		r.report.add(crash, "the leader does not end well: %v", err)
	}
	bucket, err := openBucket(r.cluster.store.Address())
	if err != nil {
		return err
	}
	floors, err := bucket.floors(ctx)
	if err != nil {
		return err
	}
	r.report.Floors = len(floors)
	if r.several {
		if r.report.TakeOvers, r.report.Forced, err = r.cluster.takeOvers(ctx); err != nil {
			return err
		}
	}
	output, err := r.cluster.verify(ctx)
	if err != nil {
		r.report.add("bucket", "varve bucket verify: %v\n%s", err, output)
	}
	r.report.Verified = output != "" && err == nil
	if output == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(r.dir, "verify.log"), []byte(output), 0o644)
}
