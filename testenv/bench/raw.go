package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// limit is the limit of a part of the machine, measured right after a case.
type limit struct {
	Name           string    `json:"name"`
	BytesPerSecond float64   `json:"bytes_per_second"`
	ObjectBytes    int64     `json:"object_bytes,omitempty"`
	Latency        Quantiles `json:"latency"` // of one operation
	// Aside: it explains, and is not a limit to compare with.
	Aside bool `json:"aside,omitempty"`
}

const (
	putters   = 4 // PUTs of a journal under way at once
	getters   = 8 // ranged GETs of a reader
	getRange  = 8 << 20
	syncChunk = 1 << 20
)

// clock runs an operation from several goroutines for a time.
func clock(ctx context.Context, name string, workers int, span time.Duration, op func(worker, n int) (int64, error)) (limit, error) {
	began := time.Now()
	var moved atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	group, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		group.Go(func() error {
			for n := 0; n == 0 || time.Since(began) < span; n++ {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				start := time.Now()
				size, err := op(w, n)
				if err != nil {
					return fmt.Errorf("measure %s: %w", name, err)
				}
				moved.Add(size)
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
			return nil
		})
	}
	err := group.Wait()
	return limit{Name: name, BytesPerSecond: float64(moved.Load()) / time.Since(began).Seconds(), Latency: quantiles(took)}, err
}

func quantiles(took []time.Duration) Quantiles {
	if len(took) == 0 {
		return Quantiles{}
	}
	slices.Sort(took)
	at := func(perMille int) float64 {
		return float64(took[max((len(took)*perMille+999)/1000, 1)-1].Microseconds()) / 1000
	}
	return Quantiles{P50: at(500), P99: at(990), P999: at(999)}
}

func noise(size int64) []byte {
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	return data
}

// rawSync writes to a file that has its blocks already, a sync after each chunk.
func rawSync(ctx context.Context, dir string, span time.Duration) (limit, error) {
	const size = 64 << 20
	f, err := os.CreateTemp(dir, "fdatasync-")
	if err != nil {
		return limit{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, size)); err != nil {
		return limit{}, err
	}
	if err := f.Sync(); err != nil {
		return limit{}, err
	}
	chunk := noise(syncChunk)
	return clock(ctx, "fdatasync", 1, span, func(_, n int) (int64, error) {
		if _, err := f.WriteAt(chunk, int64(n)*syncChunk%size); err != nil {
			return 0, err
		}
		return syncChunk, fdatasync(f)
	})
}

// rawFilePut writes new files and renames them. That is necessary in a folder
// so that a crash leaves a whole object or none.
func rawFilePut(ctx context.Context, dir string, size int64, workers int, span time.Duration) (limit, error) {
	dir, err := os.MkdirTemp(dir, "put-")
	if err != nil {
		return limit{}, err
	}
	defer os.RemoveAll(dir)
	data := noise(size)
	l, err := clock(ctx, "file PUT", workers, span, func(w, n int) (int64, error) {
		path := filepath.Join(dir, fmt.Sprintf("%d-%d", w, n))
		return size, writeDurably(dir, path, data)
	})
	l.ObjectBytes = size
	return l, err
}

func writeDurably(dir, path string, data []byte) error {
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// rawFileGet reads files of a size again and again, from the disk.
func rawFileGet(ctx context.Context, dir string, size int64, span time.Duration) (limit, error) {
	dir, err := os.MkdirTemp(dir, "get-")
	if err != nil {
		return limit{}, err
	}
	defer os.RemoveAll(dir)
	data := noise(size)
	for w := range getters {
		path := filepath.Join(dir, fmt.Sprint(w))
		if err := errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, "get"), data, 0o644)); err != nil {
			return limit{}, err
		}
	}
	l, err := clock(ctx, "file GET", getters, span, func(w, _ int) (int64, error) {
		path := filepath.Join(dir, fmt.Sprint(w))
		if err := dropPages(path); err != nil {
			return 0, err
		}
		data, err := os.ReadFile(filepath.Join(path, "get"))
		return int64(len(data)), err
	})
	l.ObjectBytes = size
	return l, err
}

// rawPut and rawGet transfer objects of a size to and from MinIO, with the
// client that varve uses.
func rawPut(ctx context.Context, client *minio.Client, bucket string, size int64, workers int, span time.Duration) (limit, error) {
	data := noise(size)
	l, err := clock(ctx, "MinIO PUT", workers, span, func(w, n int) (int64, error) {
		_, err := client.PutObject(ctx, bucket, fmt.Sprintf("raw/%d-%d", w, n), bytes.NewReader(data), size,
			minio.PutObjectOptions{DisableMultipart: true, DisableContentSha256: true})
		return size, err
	})
	l.ObjectBytes = size
	return l, err
}

// rawPutInOrder is rawPut in the order of a journal: no object is sent while
// one that is four before it is under way, so a slow PUT delays the others. Its
// difference to rawPut is the price of the order, not of the node.
func rawPutInOrder(ctx context.Context, client *minio.Client, bucket string, size int64, span time.Duration) (limit, error) {
	data := noise(size)
	w := newOrder(putters)
	l, err := clock(ctx, "MinIO PUT in order", putters, span, func(int, int) (int64, error) {
		seq := w.begin()
		defer w.end(seq)
		_, err := client.PutObject(ctx, bucket, fmt.Sprintf("raw/in-order-%d", seq), bytes.NewReader(data), size,
			minio.PutObjectOptions{DisableMultipart: true, DisableContentSha256: true})
		return size, err
	})
	l.ObjectBytes, l.Aside = size, true
	return l, err
}

func rawGet(ctx context.Context, client *minio.Client, bucket string, size int64, span time.Duration) (limit, error) {
	const objects = 16
	data := noise(size)
	for i := range objects {
		_, err := client.PutObject(ctx, bucket, fmt.Sprintf("raw/get-%d", i), bytes.NewReader(data), size,
			minio.PutObjectOptions{DisableMultipart: true, DisableContentSha256: true})
		if err != nil {
			return limit{}, err
		}
	}
	l, err := clock(ctx, "MinIO GET", getters, span, func(w, n int) (int64, error) {
		return get(ctx, client, bucket, fmt.Sprintf("raw/get-%d", (w+n*getters)%objects), size)
	})
	l.ObjectBytes = size
	return l, err
}

func get(ctx context.Context, client *minio.Client, bucket, key string, size int64) (int64, error) {
	var opts minio.GetObjectOptions
	if err := opts.SetRange(0, min(size, getRange)-1); err != nil {
		return 0, err
	}
	object, err := client.GetObject(ctx, bucket, key, opts)
	if err != nil {
		return 0, err
	}
	defer object.Close()
	return io.Copy(io.Discard, object)
}

// rawLoopback sends through one TCP connection of this machine to itself.
func rawLoopback(ctx context.Context, span time.Duration) (limit, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return limit{}, err
	}
	defer listener.Close()
	var receiving sync.WaitGroup
	receiving.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buffer := make([]byte, 256<<10)
		for err == nil {
			_, err = conn.Read(buffer)
		}
	})
	defer receiving.Wait()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return limit{}, err
	}
	defer conn.Close()
	chunk := make([]byte, 256<<10)
	return clock(ctx, "loopback TCP", 1, span, func(int, int) (int64, error) {
		n, err := conn.Write(chunk)
		return int64(n), err
	})
}
