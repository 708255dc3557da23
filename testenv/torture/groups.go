package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

const (
	jobs    = "jobs"    // the topic of a round with a group
	workers = "workers" // the group
	// partitionsEach is how many partitions there are for each member.
	partitionsEach = 4
	maxSession     = 6 * time.Second  // of members; less in a short round
	rejoinLimit    = 20 * time.Second // of members at a rebalance
)

// crew is a consumer group under torture. Its members commit the records that
// they have processed, and each dies sooner or later and is replaced by a new
// one.
type crew struct {
	*round
	group      *history.Group
	partitions int
	members    []*member // by place; guarded by mu
	mu         sync.Mutex
	killed     atomic.Int64
	refused    map[string]int // commits, by error; guarded by mu
	jobs       *jobsLog
	departed   *departed
}

// notOfGroups is work that a round of a group does not have.
var notOfGroups = []string{`varve_expiries_total{journal="1"}`, `varve_dropped_partitions_total{journal="1"}`, foundPages}

// done returns how much was done that the leader does not count itself.
func (c *crew) done() map[string]int64 {
	return map[string]int64{
		"members killed":                   c.killed.Load(),
		"records purged once committed":    c.jobs.purged.Load(),
		"groups deleted":                   c.departed.count.Load(),
		"looks at groups that are deleted": c.departed.looks.Load(),
	}
}

// groupReport is the result of a round with a group.
type groupReport struct {
	Members    int   `json:"members"`
	Partitions int   `json:"partitions"`
	Killed     int64 `json:"members_killed"`
	// Refused are commits that were refused, or of unknown outcome, by error.
	Refused map[string]int `json:"commits_refused"`
	history.GroupResult
}

// gather creates the topic of a group, whose members are not at work yet.
func (r *round) gather(starting context.Context) error {
	c := &crew{round: r, partitions: partitionsEach * r.members, members: make([]*member, r.members), refused: map[string]int{}}
	c.group, c.jobs, c.departed = r.history.NewGroup(c.partitions), newJobsLog(c.partitions), &departed{history: r.history}
	r.crew = c
	return r.createTopic(starting, jobs, c.partitions, nil)
}

// runGroup plays a round of a consumer group: members are killed all the time,
// and the node three times, once with its disk, and between steps of tiering. The records that
// it works on are purged, and so are groups next to it.
func (r *round) runGroup(ctx, starting context.Context) error {
	if err := r.gather(starting); err != nil {
		return err
	}
	c := r.crew
	r.nemesis = &nemesis{cluster: r.cluster, disturbing: &r.disturbances, say: r.detail, tooLate: r.duration, done: map[string]int{}}
	if err := c.torture(ctx); err != nil {
		return err
	}
	r.report.Group = c.result()
	if err := r.stopAndVerify(ctx); err != nil {
		return err
	}
	if err := r.readForeign(ctx); err != nil {
		return err
	}
	r.report.check(r.history)
	return errors.Join(r.fillReport(), ctx.Err())
}

func (c *crew) result() *groupReport {
	return &groupReport{Members: c.options.members, Partitions: c.partitions, Killed: c.killed.Load(), Refused: c.refused, GroupResult: c.group.Check()}
}

// begin has records sent until phase ends, and processed until working ends.
func (c *crew) begin(phase, working, hard context.Context, senders, others *clients) {
	senders.start(func() error { return c.send(phase, hard) })
	for place := range c.members {
		others.start(func() error { return c.keep(working, place) })
	}
	others.start(func() error { return c.watch(working) })
}

// harass waits until the group is at work. From then on until phase ends, its members are killed,
// its records are purged, and other groups come and go.
func (c *crew) harass(ctx, phase context.Context, senders, others *clients) error {
	c.awaitCommit(ctx)
	if err := c.round.alterTopic(ctx, offsetsTopic, offsetsConfigs); err != nil {
		return err
	}
	address := c.cluster.clients
	others.start(func() error { return c.departed.run(phase, c.seed, address) })
	others.start(func() error { return c.jobs.purge(phase, c.group.CommittedTo, address) })
	senders.start(func() error { c.reap(phase); return nil })
	return nil
}

// torture lets the group work under faults, and waits until all records are
// processed and committed.
func (c *crew) torture(ctx context.Context) error {
	phase, endPhase := context.WithCancel(ctx) // records are sent, members killed
	defer endPhase()
	working, endWork := context.WithCancel(ctx)
	defer endWork()
	hard, giveUp := context.WithCancel(ctx)
	defer giveUp()
	senders, others := new(clients), new(clients)
	c.begin(phase, working, hard, senders, others)
	if err := c.harass(ctx, phase, senders, others); err != nil {
		return err
	}
	began := time.Now()
	err := c.nemesis.run(ctx, began, c.steps())
	sleep(ctx, time.Until(began.Add(c.duration)))
	err = errors.Join(err, c.goOn(ctx))
	healed := time.Now()
	limit := time.AfterFunc(drainLimit, giveUp)
	defer limit.Stop()
	endPhase()
	err = errors.Join(err, senders.wait())
	c.awaitDone(hard)
	endWork()
	err = errors.Join(err, others.wait())
	c.report.DrainSeconds = time.Since(healed).Seconds()
	c.say("drained in %.1f s", c.report.DrainSeconds)
	return err
}

// steps kills the node three times, and some times between steps of tiering. A commit is answered when it is in the
// bucket. One that is only on the disk must not have been answered, which shows
// when the disk is lost. Faults of the network and of MinIO are added if the
// flags ask for them.
func (c *crew) steps() []step {
	steps := []step{
		{at: c.duration / 4, target: onLeader, action: kill},
		{at: 3 * c.duration / 8, target: onLeader, action: killTidy, span: c.interval},
		{at: 2 * c.duration / 4, target: onLeader, action: loseDisk},
		{at: 3 * c.duration / 4, target: onLeader, action: kill},
	}
	if !c.chosen {
		return steps
	}
	for _, s := range plan(c.seed, c.duration, c.interval, c.faults) {
		if s.target == onNetwork || s.target == onStore {
			steps = append(steps, s)
		}
	}
	return steps
}

// awaitCommit waits until the group is at work.
func (c *crew) awaitCommit(ctx context.Context) {
	for end := time.Now().Add(startLimit); c.group.Commits() == 0 && ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		if time.Now().After(end) {
			c.history.Note(history.Stuck, "the group has not committed anything after %v", startLimit)
			return
		}
	}
}

// awaitDone waits until all records are processed and committed.
func (c *crew) awaitDone(hard context.Context) {
	for said := time.Now(); ; sleep(hard, 100*time.Millisecond) {
		unprocessed, uncommitted := c.group.Left()
		switch {
		case unprocessed == 0 && uncommitted == 0:
			return
		case hard.Err() != nil:
			c.history.Note(history.Stuck, "%d records are not processed and %d not committed %v after the last fault", unprocessed, uncommitted, drainLimit)
			return
		case time.Since(said) > sayEvery:
			said = time.Now()
			c.say("%d records to be processed, %d to be committed", unprocessed, uncommitted)
		}
	}
}

// send sends records to all partitions in turn until ctx ends. It returns when
// it knows all outcomes or hard ends.
func (c *crew) send(ctx, hard context.Context) error {
	client, err := newClient(c.cluster.clients, kgo.MaxBufferedRecords(2*maxBuffered))
	if err != nil {
		return err
	}
	defer client.Close()
	began, sent := time.Now(), 0
	for ctx.Err() == nil {
		due := int(time.Since(began).Seconds() * c.rate)
		for ; sent < due && client.BufferedProduceRecords() < maxBuffered; sent++ {
			record := &kgo.Record{Topic: jobs, Partition: int32(sent % c.partitions), Value: fmt.Appendf(nil, "job %d", sent)}
			client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
				if err == nil {
					c.group.Sent(r.Partition, r.Offset)
					c.jobs.note(r)
				} else if !expected(err) {
					c.history.Note(history.Refused, "producer gets: %v", err)
				}
			})
		}
		sleep(ctx, burst)
	}
	if err := client.Flush(hard); err != nil {
		c.history.Note(history.Stuck, "producer does not know the outcome of some records in time")
	}
	return nil
}

// reap kills a member every few seconds until ctx ends, and less often in a
// small group. The group rebalances for as long as it takes to notice that a
// member is dead.
func (c *crew) reap(ctx context.Context) {
	random := rand.New(rand.NewPCG(c.seed, 3))
	pause := c.interval / 5 * time.Duration(max(1, 25/c.options.members))
	for {
		sleep(ctx, pause+time.Duration(random.Int64N(int64(pause))))
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		victim := c.members[random.IntN(len(c.members))]
		c.mu.Unlock()
		if victim != nil && victim.kill() {
			c.killed.Add(1)
			c.detail("%s is killed", victim.name)
		}
	}
}

// notCommitted counts a commit that has failed for a member.
func (c *crew) notCommitted(m *member, err error) {
	reason := "other"
	var code *kerr.Error
	switch {
	case m.ctx.Err() != nil:
		reason = "killed during it"
	case errors.As(err, &code):
		reason = code.Message
	case errors.Is(err, context.DeadlineExceeded):
		reason = "no answer"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[reason]++
}

// keep runs a member at a place until ctx ends, and a new one soon after it has
// died.
func (c *crew) keep(ctx context.Context, place int) error {
	for life := 1; ctx.Err() == nil; life++ {
		m, err := newMember(c, fmt.Sprintf("member %d.%d", place, life))
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.members[place] = m
		c.mu.Unlock()
		m.work(ctx)
		sleep(ctx, time.Duration(place%10)*200*time.Millisecond)
	}
	return nil
}

// watch lists the committed offsets until ctx ends.
func (c *crew) watch(ctx context.Context) error {
	client, err := newClient(c.cluster.clients)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for ctx.Err() == nil {
		turn, cancel := context.WithTimeout(ctx, 10*time.Second)
		question := c.group.Ask()
		offsets, err := admin.FetchOffsets(turn, workers)
		cancel()
		if err == nil && offsets.Error() == nil {
			for partition := range int32(c.partitions) {
				o, _ := offsets.Lookup(jobs, partition)
				question.Offset("look-up", partition, max(0, o.At))
			}
		}
		sleep(ctx, 200*time.Millisecond)
	}
	return nil
}
