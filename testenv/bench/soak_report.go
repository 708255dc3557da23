package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// largestObject is how many bytes of batches a merged object has at most, by default, and
// flushedObject how many a flushed one has under load.
const (
	largestObject = 120 << 20
	flushedObject = 8 << 20
	largestGet    = 8 << 20
)

// figures has a line for each sample.
func (s *soak) figures(t *sheet) {
	t.Columns = []string{"min", "written GB", "stored GB", "objects", "unmerged MB", "RSS MiB", "replayed GB"}
	for _, x := range s.samples {
		t.add(fmt.Sprintf("%.1f", x.at.Minutes()), short(float64(x.written)/1e9), short(float64(x.stored)/1e9), fmt.Sprint(x.objects), fmt.Sprint(x.debt/1e6),
			fmt.Sprint(x.rss>>20), short(float64(x.replay)/1e9))
	}
	if n := len(s.samples); n >= 8 {
		most := func(part []sample) int64 {
			return slices.MaxFunc(part, func(a, b sample) int { return int(a.rss - b.rss) }).rss >> 20
		}
		t.note("most RSS of the samples, by quarters of the run: %d, %d, %d, %d MiB", most(s.samples[:n/4]), most(s.samples[n/4:n/2]), most(s.samples[n/2:n*3/4]), most(s.samples[n*3/4:]))
	}
	t.note("the leader was killed %d times, every third time with the loss of its disk; the longest start took %.1f s", s.kills, s.longest.Seconds())
	t.note("%d replays of a partition, %.2f GB at %.1f MB/s on average, next to the load", s.load.replays.Load(), float64(s.load.readBytes.Load())/1e9,
		float64(s.load.readBytes.Load())/1e3/max(float64(s.load.readSeconds.Load()), 1))
}

// end lets the node come to rest, checks all records, and then the bucket. It prints the cost
// of the run next to the least that is possible.
func (s *soak) end(ctx context.Context, out io.Writer) error {
	began := time.Now()
	if err := s.idle(ctx); err != nil {
		return err
	}
	s.say("at rest after %.0f s", time.Since(began).Seconds())
	last, err := s.counters(ctx)
	if err != nil {
		return err
	}
	all := added(s.before, last)
	replays := s.load.readBytes.Load()
	if err := s.load.checkAll(ctx); err != nil {
		return err
	}
	s.say("all records are as they were written")
	if err := s.process.Stop(readyTimeout); err != nil {
		return err
	}
	var bucket stat
	if _, err := s.command(ctx, &bucket, "bucket", "stat"); err != nil {
		return err
	}
	var report struct {
		Sound bool
		Bytes int64
	}
	verified, err := s.command(ctx, &report, "bucket", "verify", "--records")
	if err != nil {
		return err
	}
	t := &sheet{Name: "cost of the run", Columns: []string{"", "is", "at least", "by"}}
	s.costs(t, all, bucket, replays)
	t.note("bucket verify --records: sound %v, %.1f s, %.1f CPU s, %d MiB, %d GETs, %.2f GB", report.Sound, verified.seconds, verified.cpu, verified.peak>>20, verified.gets, float64(report.Bytes)/1e9)
	err = t.print(out)
	if !report.Sound {
		err = errors.Join(err, errors.New("the bucket is not sound"))
	}
	return err
}

func (s *soak) costs(t *sheet, c counters, bucket stat, replays int64) {
	written := float64(s.load.bytes.Load())
	gb, live := written/1e9, float64(0)
	for _, topic := range bucket.Topics {
		live += float64(topic.Bytes)
	}
	t.add("bytes written to the bucket, B/B", short(c.putBytes/written), "2.00", "one flush, one merge of all")
	t.add("bytes read from it but for replays, B/B", short((c.getBytes-c.replayed)/written), "1.00", "the read-back of merged objects")
	t.add("PUTs/GB", short(c.puts/gb), short(1e9/flushedObject+1e9/largestObject), "full flushes, full merged objects")
	t.add("GETs/GB but for replays", short((c.gets-c.replays)/gb), short(1e9/largestGet), "read-back by the largest GET")
	t.add("GETs/GB of replays", short(c.replays/(float64(replays)/1e9)), short(1e9/largestGet), "the largest GET")
	t.add("bytes read by replays, B/B", short(c.replayed/float64(replays)), "1.00", "")
	t.add("deleted objects/GB", short(c.deletes/gb), "", "")
	t.add("bytes in the bucket at the end, GB", short(float64(bucket.Bytes)/1e9), short(live/1e9), "the records that consumers can read")
	t.add("objects in it", fmt.Sprint(bucket.Objects), short(live/largestObject), "these bytes in the largest objects")
	t.add("CPU s/GB of the nodes", short(c.cpu/gb), "", "")
	t.add("peak memory, MiB", fmt.Sprint(c.peak>>20), "", "")
	for _, k := range bucket.Stored {
		t.note("%s: %d objects, %.3f GB", k.Kind, k.Objects, float64(k.Bytes)/1e9)
	}
	for _, topic := range bucket.Topics {
		t.note("topic %s: %.3f GB in %d objects", topic.Name, float64(topic.Bytes)/1e9, topic.Objects)
	}
}
