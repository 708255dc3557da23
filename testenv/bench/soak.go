package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// soakFlags are those of the node of a long run. Ages are such parts of the run that all that
// happens within days happens in it.
func soakFlags(run time.Duration) []string {
	part := func(n time.Duration) string { return max(run/n, time.Second).Round(time.Second).String() }
	return []string{"--merge-age", part(60), "--merge-join-age", part(20), "--merge-wait", "200ms", "--retention-check", part(100),
		"--checkpoint-objects", "32", "--replaced-grace", part(200), "--freed-grace", part(100), "--verify-rate", "8MiB"}
}

const (
	soakKills   = 10 // of the leader
	soakSamples = 20
	soakReaders = 2
)

// soak is a long run on one bucket: a paced load on partitions of several kinds of retention,
// readers that replay them all the while, and kills of the leader.
type soak struct {
	*site
	load    *soakLoad
	mu      sync.Mutex
	kills   int
	longest time.Duration // of a start
	before  counters      // of the lives that are over, added up
	peak    int64
	samples []sample
}

// sample is the state at one moment.
type sample struct {
	at                      time.Duration
	written, debt, rss      int64
	stored, objects, replay int64
}

// runSoak makes the long run, and prints its tables. It returns an error if a record was
// lost, doubled or changed.
func (o *options) runSoak(ctx context.Context, out, log io.Writer) (err error) {
	l, err := o.openLab(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	s := &soak{}
	if s.site, err = l.newSite(ctx, o.varve, soakFlags(o.duration)...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove(ctx)) }()
	if s.load, err = newSoakLoad(ctx, s.site, o.fill, o.duration); err != nil {
		return err
	}
	began := time.Now()
	err = s.run(ctx)
	t := &sheet{Name: fmt.Sprintf("a long run: %d partitions, %.1f GB in %.0f s", soakPartitions(), float64(s.load.bytes.Load())/1e9, time.Since(began).Seconds())}
	s.figures(t)
	err = errors.Join(err, t.print(out))
	if err == nil {
		err = s.end(ctx, out)
	}
	return errors.Join(err, s.load.failures())
}

// run writes, reads, kills and looks until all is written.
func (s *soak) run(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	group, reading := errgroup.WithContext(reading)
	for i := range soakReaders {
		group.Go(func() error { return s.load.readOn(reading, uint64(i)) })
	}
	group.Go(func() error { return s.watch(reading) })
	group.Go(func() error { return s.killOn(reading) })
	group.Go(func() error {
		defer stop()
		return s.load.write(reading)
	})
	err := group.Wait()
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		err = nil // stopped after the last record
	}
	return err
}

// killOn kills the leader again and again. Every third time its disk is lost, too.
func (s *soak) killOn(ctx context.Context) error {
	every := max(s.o.duration/(soakKills+1), 10*time.Second)
	for n := 1; pause(ctx, every); n++ {
		s.mu.Lock()
		now, err := s.counters(ctx)
		if err == nil {
			s.before = added(s.before, now)
			err = s.process.Kill()
		}
		if err == nil && n%3 == 0 {
			err = os.RemoveAll(filepath.Join(s.dir(), "data"))
		}
		began := time.Now()
		if err == nil {
			err = s.start(context.WithoutCancel(ctx), s.binary)
		}
		s.kills, s.longest = s.kills+1, max(s.longest, time.Since(began))
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("kill %d: %w", n, err)
		}
	}
	return nil
}

func (s *soak) dir() string { return s.node.dir }

// pause reports whether ctx still goes on after a time.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// added adds up the counters of two processes. Gauges are those of the second one.
func added(a, b counters) counters {
	b.cpu, b.puts, b.putBytes = a.cpu+b.cpu, a.puts+b.puts, a.putBytes+b.putBytes
	b.gets, b.getBytes, b.deletes = a.gets+b.gets, a.getBytes+b.getBytes, a.deletes+b.deletes
	b.jobs, b.tidied, b.journal = a.jobs+b.jobs, a.tidied+b.tidied, a.journal+b.journal
	b.replays, b.replayed = a.replays+b.replays, a.replayed+b.replayed
	b.peak = max(a.peak, b.peak)
	return b
}

// watch takes samples.
func (s *soak) watch(ctx context.Context) error {
	began, every := time.Now(), s.o.duration/soakSamples
	for pause(ctx, every) {
		s.mu.Lock()
		c, err := s.counters(ctx)
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
		s.mu.Unlock()
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		rss, _ := statusBytes(string(status), "VmRSS:")
		objects, bytes, err := s.stored()
		if err != nil {
			return err
		}
		x := sample{at: time.Since(began), written: s.load.bytes.Load(), debt: int64(c.debt), rss: rss, stored: bytes, objects: objects, replay: s.load.readBytes.Load()}
		s.samples = append(s.samples, x)
		s.say("%.0f s: %.2f GB written, %.2f GB in %d objects, RSS %d MiB, unmerged %d MB, replayed %.2f GB", x.at.Seconds(), float64(x.written)/1e9,
			float64(bytes)/1e9, objects, rss>>20, x.debt/1e6, float64(x.replay)/1e9)
	}
	return nil
}

// stored counts the objects of the bucket, and the bytes of MinIO's files.
func (s *soak) stored() (objects, bytes int64, err error) {
	err = filepath.WalkDir(filepath.Join(s.o.dir, "minio", "drive", s.bucket), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if bytes += info.Size(); entry.Name() == "xl.meta" {
			objects++
		}
		return nil
	})
	return objects, bytes, err
}

// ignoreGone ignores that a file was deleted at the same time.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
