package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// firstError keeps the first error of callbacks.
type firstError struct{ first atomic.Pointer[error] }

func (f *firstError) get() error {
	if err := f.first.Load(); err != nil {
		return *err
	}
	return nil
}

// note is the callback of a producer.
func (f *firstError) note(_ *kgo.Record, err error) {
	if err != nil {
		f.first.CompareAndSwap(nil, &err)
	}
}

// counter passes requests on to a store, and counts them.
type counter struct {
	server   *http.Server
	address  string
	requests atomic.Int64 // GETs of objects
	lists    atomic.Int64
	others   atomic.Int64
	bytes    atomic.Int64 // of all answers
}

// startCounter starts a counter in front of a store.
func startCounter(store string) (*counter, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{address: listener.Addr().String()}
	target := &url.URL{Scheme: "http", Host: store}
	proxy := &httputil.ReverseProxy{
		BufferPool: new(copyBuffers),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			c.count(r)
			return nil
		},
	}
	c.server = &http.Server{Handler: proxy}
	go func() { _ = c.server.Serve(listener) }() // ends with Close
	return c, nil
}

func (c *counter) count(r *http.Response) {
	c.bytes.Add(max(r.ContentLength, 0))
	switch query := r.Request.URL.Query(); {
	case r.Request.Method != http.MethodGet:
		c.others.Add(1)
	case query.Has("list-type"):
		c.lists.Add(1)
	case strings.Count(strings.Trim(r.Request.URL.Path, "/"), "/") == 0:
		c.others.Add(1) // of the bucket itself
	default:
		c.requests.Add(1)
	}
}

func (c *counter) close() error { return c.server.Close() }

// copyBuffers are for the copies of answers.
type copyBuffers struct{ sync.Pool }

func (p *copyBuffers) Get() []byte {
	if b, ok := p.Pool.Get().([]byte); ok {
		return b
	}
	return make([]byte, 256<<10)
}

func (p *copyBuffers) Put(b []byte) { p.Pool.Put(b) }

// spent is the cost of a command.
type spent struct {
	seconds, cpu float64
	peak         int64 // bytes
	gets, lists  int64
	read         int64 // bytes
	code         int
}

// command runs varve on the bucket, decodes its JSON into answer, and returns the cost. Exit
// code 1 is no error here.
func (s *site) command(ctx context.Context, answer any, args ...string) (c spent, err error) {
	proxy, err := startCounter(s.stores.server.Address())
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, proxy.close()) }()
	bucket := "minio://" + proxy.address + "/" + s.bucket + "?secure=false"
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.o.varve, append(args, "--bucket", bucket, "-o", "json")...)
	cmd.Env, cmd.Stdout, cmd.Stderr = varveEnv(), &stdout, &stderr
	began := time.Now()
	err = cmd.Run()
	c.seconds = time.Since(began).Seconds()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 {
		c.code, err = 1, nil
	}
	if err != nil {
		return c, fmt.Errorf("varve %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	c.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.peak = usage.Maxrss << 10
	}
	c.gets, c.lists, c.read = proxy.requests.Load(), proxy.lists.Load(), proxy.bytes.Load()
	if err := json.Unmarshal(stdout.Bytes(), answer); err != nil {
		return c, fmt.Errorf("read the output of varve %s: %w", strings.Join(args, " "), err)
	}
	return c, nil
}

// stat is the output of varve bucket stat.
type stat struct {
	Topics []struct {
		Name                        string
		Bytes, Journal, Shared, Own int64
		Objects                     int64
	}
	Stored []struct {
		Kind           string
		Objects, Bytes int64
	}
	Objects, Bytes, Garbage int64
	Dollars                 float64 `json:"dollars_month"`
}

// storedBytes is how many bytes each topic has in the bucket.
func (s *site) storedBytes(ctx context.Context) (map[string]int64, error) {
	var out stat
	if _, err := s.command(ctx, &out, "bucket", "stat"); err != nil {
		return nil, err
	}
	stored := map[string]int64{}
	for _, t := range out.Topics {
		stored[t.Name] = t.Bytes
	}
	return stored, nil
}
