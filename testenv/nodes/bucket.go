package nodes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
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
	First    uint64     // seq of its first object that the bucket still has: its fence, as a rule
	Node     segment.ID // the data folder of the leader
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

// endsWithin is how many objects before a fence may come after an end entry: as many as a
// leader has under way.
const endsWithin = 8

// Leaderships finds all leaderships of a journal in the objects that the bucket still has. No
// epoch is lower than that of an object before it, but for voids next to a fence. So it reads
// few of them.
func (b Bucket) Leaderships(ctx context.Context, number uint32) ([]Leadership, error) {
	keys, err := b.List(ctx, segment.JournalPrefix(number))
	if err != nil {
		return nil, err
	}
	l := &leaderships{ctx: ctx, bucket: b, read: map[uint64]*journal.Object{}, number: number}
	for _, key := range keys {
		if seq, ok := segment.ParseJournalKey(number, key); ok {
			l.seqs = append(l.seqs, seq)
		}
	}
	if len(l.seqs) == 0 {
		return nil, nil
	}
	l.note(0)
	l.search(0, len(l.seqs)-1)
	for i := range l.found {
		end := len(l.seqs)
		if i+1 < len(l.found) {
			end, _ = slices.BinarySearch(l.seqs, l.found[i+1].First)
		}
		l.findEnd(&l.found[i], end)
	}
	return l.found, l.err
}

// leaderships is a search for them. The first error ends it.
type leaderships struct {
	ctx    context.Context
	bucket Bucket
	number uint32
	seqs   []uint64
	read   map[uint64]*journal.Object
	found  []Leadership
	err    error
}

// object reads the object at an index of seqs. It returns nil after an error.
func (l *leaderships) object(at int) *journal.Object {
	seq := l.seqs[at]
	if o, ok := l.read[seq]; ok || l.err != nil {
		return o
	}
	key := segment.JournalKey(l.number, seq)
	data, err := l.bucket.Get(l.ctx, key)
	if err != nil {
		l.err = fmt.Errorf("read %s: %w", key, err)
		return nil
	}
	o, err := segment.Decode(data)
	if err == nil {
		l.read[seq], err = journal.NewObject(o.Footer, o.Entries)
	}
	if err != nil {
		l.err = fmt.Errorf("decode %s: %w", key, err)
		return nil
	}
	return l.read[seq]
}

// note adds the leadership of an object, if it is later than those before.
func (l *leaderships) note(at int) {
	o := l.object(at)
	if o == nil {
		return
	}
	if h := &o.Footer.Header; len(l.found) == 0 || h.Epoch > l.found[len(l.found)-1].Epoch {
		l.found = append(l.found, Leadership{Epoch: h.Epoch, First: h.Seq, Node: h.Node})
	}
}

// search finds the leaderships that begin after the object at from, up to the one at to.
func (l *leaderships) search(from, to int) {
	first, last := l.object(from), l.object(to)
	if l.err != nil || from == to || first.Footer.Header.Epoch == last.Footer.Header.Epoch {
		return
	}
	if to-from <= endsWithin {
		for at := from + 1; at <= to; at++ {
			l.note(at)
		}
		return
	}
	middle := from + (to-from)/2
	l.search(from, middle)
	l.note(middle)
	l.search(middle, to)
}

// findEnd looks for the end entry of a leadership among the last objects before an index.
func (l *leaderships) findEnd(one *Leadership, before int) {
	for at := before - 1; at >= max(0, before-endsWithin); at-- {
		if o := l.object(at); o != nil && o.Footer.Header.Epoch == one.Epoch && o.End != nil {
			one.HandedTo = o.End.To
			return
		}
	}
}
