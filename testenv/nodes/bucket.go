package nodes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// Bucket is direct access to the objects of a cluster, not through varve or a proxy.
type Bucket struct {
	Client *minio.Client
	name   string
	prefix string // with a / at its end, or empty
}

// OpenBucket gives access to the objects below a prefix of a bucket.
func OpenBucket(address, accessKey, secretKey, bucket, prefix string) (Bucket, error) {
	client, err := minio.New(address, &minio.Options{
		Creds:     credentials.NewStaticV4(accessKey, secretKey, ""),
		Transport: &http.Transport{DisableKeepAlives: true}, // no connection may outlive the test
	})
	return Bucket{Client: client, name: bucket, prefix: prefix}, err
}

// Get returns the content of an object.
func (b Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	o, err := b.Client.GetObject(ctx, b.name, b.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}

// List returns the keys with a prefix, in their order.
func (b Bucket) List(ctx context.Context, prefix string) (keys []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}
	for o := range b.Client.ListObjects(ctx, b.name, options) {
		if o.Err != nil {
			return nil, o.Err
		}
		keys = append(keys, strings.TrimPrefix(o.Key, b.prefix))
	}
	return keys, nil
}

// Remove removes an object.
func (b Bucket) Remove(ctx context.Context, key string) error {
	return b.Client.RemoveObject(ctx, b.name, b.prefix+key, minio.RemoveObjectOptions{})
}

// Leadership is one leadership of a journal, as its objects show it.
type Leadership struct {
	Epoch    uint32
	Fence    uint64     // seq of its fence
	Node     segment.ID // the data folder of the leader
	Objects  int        // with records or entries
	HandedTo segment.ID // by an end entry; zero: none
}

// Forced returns how many leaderships began although the one before had not ended by an end
// entry, the first one not counted.
func Forced(all []Leadership) (n int) {
	for i := 1; i < len(all); i++ {
		if all[i-1].HandedTo.IsZero() {
			n++
		}
	}
	return n
}

// Leaderships reads all objects of a journal that the bucket still has.
func (b Bucket) Leaderships(ctx context.Context, number uint32) (all []Leadership, err error) {
	keys, err := b.List(ctx, segment.JournalPrefix(number))
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if _, ok := segment.ParseJournalKey(number, key); !ok {
			continue
		}
		data, err := b.Get(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		o, err := segment.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", key, err)
		}
		index, err := journal.NewObject(o.Footer, o.Entries)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", key, err)
		}
		all = follow(all, index)
	}
	return all, nil
}

// follow adds an object, in the order of seqs. One of an earlier epoch than the last fence's
// is void.
func follow(all []Leadership, o *journal.Object) []Leadership {
	h := &o.Footer.Header
	if len(all) == 0 || h.Epoch > all[len(all)-1].Epoch {
		all = append(all, Leadership{Epoch: h.Epoch, Fence: h.Seq, Node: h.Node})
	}
	last := &all[len(all)-1]
	if h.Epoch < last.Epoch || h.Kind != segment.KindData {
		return all
	}
	last.Objects++
	if o.End != nil {
		last.HandedTo = o.End.To
	}
	return all
}
