package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/miniod"
)

// stores are the MinIO server and the proxy that delays requests to it. Each is
// nil if no case needs it.
type stores struct {
	server  *miniod.Server
	proxy   *faultproxy.Proxy
	delay   faultproxy.Fault
	clients map[string]*minio.Client // by the name of the store
}

// startStores starts the stores that the cases need.
func startStores(ctx context.Context, o *options, list []bench) (*stores, error) {
	s := &stores{clients: map[string]*minio.Client{}}
	if !uses(list, minioStore, farStore) {
		return s, nil
	}
	binary, err := miniod.Find()
	if err != nil {
		return s, fmt.Errorf("%w; or leave it out with --only ^file", err)
	}
	if s.server, err = miniod.Start(ctx, miniod.Config{Binary: binary, Dir: filepath.Join(o.dir, "minio")}); err != nil {
		return s, err
	}
	if s.proxy, err = faultproxy.Start(s.server.Address(), 1); err != nil {
		return s, err
	}
	s.delay = o.delay
	s.slow(true)
	for _, store := range []string{minioStore, farStore} {
		s.clients[store], err = minio.New(s.address(store), &minio.Options{Creds: credentials.NewStaticV4(miniod.AccessKey, miniod.SecretKey, "")})
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *stores) address(store string) string {
	if store == farStore {
		return s.proxy.Address()
	}
	return s.server.Address()
}

// slow turns the delay before the store far on or off.
func (s *stores) slow(on bool) {
	fault := faultproxy.Fault{}
	if on {
		fault = s.delay
	}
	s.proxy.Set(fault)
}

func (s *stores) close() error {
	var errs []error
	if s.proxy != nil {
		errs = append(errs, s.proxy.Close())
	}
	if s.server != nil {
		errs = append(errs, s.server.Kill())
	}
	return errors.Join(errs...)
}

// place is the folder and the bucket of one run of a case. Both are new.
type place struct {
	dir    string
	bucket string        // its name in MinIO
	url    string        // as in --bucket
	raw    *minio.Client // of the bucket, with the delay that a node sees; nil: the bucket is a folder
	near   *minio.Client // without the delay
	slow   func(on bool) // turns the delay on or off; nil: there is none
}

func (s *stores) newPlace(dir, store string) (place, error) {
	dir, err := os.MkdirTemp(dir, "case-")
	p := place{dir: dir, bucket: "bench-" + strings.ToLower(rand.Text()), raw: s.clients[store], near: s.clients[minioStore]}
	if store == farStore {
		p.slow = s.slow
	}
	if p.url = "file://" + filepath.Join(dir, "bucket"); p.raw != nil {
		p.url = "minio://" + s.address(store) + "/" + p.bucket + "?secure=false"
	}
	return p, err
}

// remove deletes all that the run has left.
func (p place) remove(ctx context.Context) error {
	err := os.RemoveAll(p.dir)
	if p.raw == nil {
		return err
	}
	failed := p.near.RemoveBucketWithOptions(ctx, p.bucket, minio.RemoveBucketOptions{ForceDelete: true})
	if minio.ToErrorResponse(failed).Code == minio.NoSuchBucket { // a peer has made none
		failed = nil
	}
	return errors.Join(err, failed)
}
