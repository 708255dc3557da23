package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pagedPart is the part of the bytes that lies in so many small objects that the state keeps
// most of them in index pages.
const pagedPart = 10

// verifyBucket fills a bucket with events, merges them, and verifies it. It does so as it is,
// then with one of two copies of each index page gone, and after a repair.
func verifyBucket(ctx context.Context, l *lab) (t *sheet, err error) {
	t = &sheet{Columns: []string{"", "s", "MB/s", "CPU s/GB", "peak MiB", "GETs", "GETs/GB", "read B/B", "exit"}}
	small := append([]string{"--merge-own-bytes", "1MiB", "--merge-bytes", "16MiB", "--checkpoint-objects", "16"}, joiningFlags...)
	s, err := l.newSite(ctx, l.o.varve, small...)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.remove(ctx)) }()
	by := compression{name: "lz4", codec: kgo.Lz4Compression(), batch: 1_000_000}
	for _, part := range []struct {
		batch int32
		bytes int64
		flags []string
	}{{999_999, l.o.fill / pagedPart, small}, {by.batch, l.o.fill - l.o.fill/pagedPart, joiningFlags}} {
		by.batch = part.batch
		if err := s.again(ctx, part.flags...); err != nil {
			return t, err
		}
		if _, err := s.writeEvents(ctx, &by, part.bytes*storedShare); err != nil {
			return t, err
		}
		if err := s.merged(ctx); err != nil {
			return t, err
		}
	}
	if err := s.again(ctx, restingFlags...); err != nil {
		return t, err
	}
	if err := s.process.Stop(readyTimeout); err != nil {
		return t, err
	}
	return t, s.verifications(ctx, t)
}

// storedShare is about how many times smaller the events of writeEvents are with lz4.
const storedShare = 3

func (s *site) verifications(ctx context.Context, t *sheet) error {
	verify := func(name string, args ...string) error {
		var report struct {
			Sound   bool
			Objects int64
			Bytes   int64
		}
		c, err := s.command(ctx, &report, append([]string{"bucket", "verify"}, args...)...)
		if err != nil {
			return err
		}
		if report.Sound != (c.code == 0) {
			return fmt.Errorf("exit code %d, sound: %v", c.code, report.Sound)
		}
		gb := float64(report.Bytes) / 1e9
		t.add(name, short(c.seconds), short(float64(report.Bytes)/1e6/c.seconds), short(c.cpu/gb), fmt.Sprint(c.peak>>20), fmt.Sprint(c.gets),
			short(float64(c.gets)/gb), short(float64(c.read)/float64(report.Bytes)), fmt.Sprint(c.code))
		t.note("%s: %d objects, %.2f GB, %d lists", name, report.Objects, gb, c.lists)
		return nil
	}
	if err := verify("as it is"); err != nil {
		return err
	}
	if err := verify("every record", "--records"); err != nil {
		return err
	}
	pages, err := s.dropCopies(ctx)
	if err != nil {
		return err
	}
	t.note("%d index objects are stored twice", pages)
	if err := verify("every record, one copy of each page gone", "--records"); err != nil {
		return err
	}
	var repaired any
	c, err := s.command(ctx, &repaired, "bucket", "repair")
	if err != nil {
		return err
	}
	t.add("repair", short(c.seconds), "", "", fmt.Sprint(c.peak>>20), fmt.Sprint(c.gets), "", "", fmt.Sprint(c.code))
	return verify("every record, repaired", "--records")
}

// dropCopies deletes the first copy of each index object that is stored twice.
func (s *site) dropCopies(ctx context.Context) (n int, err error) {
	for o := range s.near.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return n, o.Err
		}
		if first, ok := strings.CutSuffix(o.Key, ".copy"); ok {
			if err := s.near.RemoveObject(ctx, s.bucket, first, minio.RemoveObjectOptions{}); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}
