package s3http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/varvelog/varve/tiering/objstore"
)

// Store is a bucket, or a prefix of one. All methods may be called concurrently.
type Store struct {
	client Client
	bucket string
	prefix string // "" or with a slash at its end
	url    string
	idle   []*http.Transport

	clock     *clock
	unbatched atomic.Bool // the store takes no batch of deletes
}

// Config says which bucket, and with how many connections.
type Config struct {
	Bucket      string
	Prefix      string         // "" for none
	Concurrency int            // connections kept for Create, and for all else; 0: 64
	Roots       *x509.CertPool // certificates to trust; nil: those of the system
}

// Connect returns a client that sends each Put once, by commits, and all else by
// reads. The URL names the store for people, without credentials.
type Connect func(commits, reads http.RoundTripper) (client Client, url string, err error)

// Open prepares to use a bucket. It sends nothing to the store: objstore.Probe finds
// out whether the bucket exists, and whether the store keeps the contract.
func Open(cfg Config, connect Connect) (*Store, error) {
	prefix, err := CheckPrefix(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	connections, err := CheckConnections(cfg.Concurrency)
	if err != nil {
		return nil, err
	}
	commits, reads := newTransport(connections, headerTimeout), newTransport(connections, headerTimeout)
	uploads := newTransport(uploads, uploadHeaderTimeout)
	s := &Store{bucket: cfg.Bucket, prefix: prefix, idle: []*http.Transport{commits, uploads, reads}}
	if cfg.Roots != nil {
		for _, transport := range s.idle {
			transport.TLSClientConfig = &tls.Config{RootCAs: cfg.Roots}
		}
	}
	s.clock = &clock{next: reads}
	s.client, s.url, err = connect(commitTransport{Next: byPurpose{commits, uploads}}, s.clock)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Create implements objstore.Store.
func (s *Store) Create(ctx context.Context, key string, body objstore.Body) error {
	defer body.Done()
	if err := objstore.CheckCreate(key, body); err != nil {
		return err
	}
	if err := s.put(ctx, key, body); err != nil {
		return s.explain("create", key, err)
	}
	return nil
}

// put sends the PUT. When it returns, nothing reads the bytes any more.
func (s *Store) put(ctx context.Context, key string, body objstore.Body) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := Checksum(body.Sum())
	if body.Source != nil {
		limited, cancel := context.WithTimeout(ctx, uploadLimit(body.Size()))
		defer cancel()
		ctx = context.WithValue(limited, isUpload{}, true)
	}
	payload := newPayload(body)
	defer payload.cutOff()
	etag, confirmed, err := s.client.Put(ctx, s.prefix+key, payload, body.Size(), sum)
	if err != nil {
		return err
	}
	return checkPut(etag, confirmed, sum)
}

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, err
	}
	data, err := s.get(ctx, key)
	if err != nil {
		return nil, s.explain("get", key, err)
	}
	return data, nil
}

func (s *Store) get(ctx context.Context, key string) ([]byte, error) {
	body, err := s.client.Get(ctx, s.prefix+key, "")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := makeRoom(key, body.Size)
	if err != nil {
		return nil, err
	}
	return data, readBody(body, data)
}

// GetRange implements objstore.Store.
func (s *Store) GetRange(ctx context.Context, key string, offset int64, dst []byte) error {
	length := int64(len(dst))
	if err := objstore.CheckRange(key, offset, length); err != nil {
		return err
	}
	_, _, err := s.getPart(ctx, key, rangeHeader(offset, length), func(got part) ([]byte, error) {
		return dst, got.checkRange(offset, length)
	})
	if err != nil {
		return s.explain("get", key, err)
	}
	return nil
}

// GetTail implements objstore.Store. It takes a second request when the object is
// empty, because there is no range in an empty object.
func (s *Store) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if err := objstore.CheckRange(key, 0, n); err != nil {
		return nil, 0, err
	}
	data, size, err := s.getPart(ctx, key, tailHeader(n), func(got part) ([]byte, error) {
		if err := got.checkTail(n); err != nil {
			return nil, err
		}
		return makeRoom(key, got.length())
	})
	if errors.Is(err, errNothing) || err != nil && s.client.Answer(err).Status == http.StatusRequestedRangeNotSatisfiable {
		if data, err = s.get(ctx, key); len(data) > 0 {
			err = fmt.Errorf("store refused a range of an object of %d bytes", len(data))
		}
	}
	if err != nil {
		return nil, 0, s.explain("get", key, err)
	}
	return data, size, nil
}

// errNothing: the answer to a request for a range is a whole body without a byte, as some
// stores answer for an empty object.
var errNothing = errors.New("store sent no range and no byte")

// getPart sends one GET with a Range header. It reads the answer into the memory that
// room returns for the part, and returns that memory and the object's size.
func (s *Store) getPart(ctx context.Context, key, byteRange string, room func(part) ([]byte, error)) ([]byte, int64, error) {
	body, err := s.client.Get(ctx, s.prefix+key, byteRange)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	if body.ContentRange == "" && body.Size == 0 {
		return nil, 0, errNothing
	}
	got, err := parseContentRange(body.ContentRange)
	if err != nil {
		return nil, 0, err
	}
	dst, err := room(got)
	if err != nil {
		return nil, 0, err
	}
	return dst, got.Size, readBody(body, dst)
}

// List implements objstore.Store.
func (s *Store) List(ctx context.Context, prefix, startAfter string, fn func(objstore.Info) error) error {
	keys := listing{StorePrefix: s.prefix, Prefix: prefix, Last: startAfter}
	if startAfter != "" {
		startAfter = s.prefix + startAfter
	}
	for info, err := range s.client.Objects(ctx, s.prefix+prefix, startAfter) {
		if err == nil {
			info.Key, err = keys.next(info.Key)
		}
		if err != nil {
			return s.explain("list", prefix, err)
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// EnsureBucket creates the bucket if it is missing. If another creator of the same
// account is faster, that is a success too.
func (s *Store) EnsureBucket(ctx context.Context) error {
	exists, err := s.client.BucketExists(ctx)
	if err != nil {
		return fmt.Errorf("look for bucket %q: %w", s.bucket, s.classify(err))
	}
	if exists {
		return nil
	}
	err = s.client.MakeBucket(ctx)
	if err != nil && s.client.Answer(err).Code != bucketAlreadyOwnedByYou {
		return fmt.Errorf("create bucket %q: %w", s.bucket, s.classify(err))
	}
	return nil
}

// Close closes the connections that no call is using. Calls under way go on.
func (s *Store) Close() {
	for _, transport := range s.idle {
		transport.CloseIdleConnections()
	}
}

// String implements objstore.Store.
func (s *Store) String() string { return s.url }

// explain says which operation failed, and where.
func (s *Store) explain(verb, key string, err error) error {
	return fmt.Errorf("%s object %q in %s: %w", verb, key, s.url, s.classify(err))
}

// classify adds the sentinel that callers decide on, where the answer leaves no
// doubt. Any other error keeps its meaning: unknown.
func (s *Store) classify(err error) error {
	answer := s.client.Answer(err)
	if answer.Note != "" {
		err = fmt.Errorf("%s: %w", answer.Note, err)
	}
	if sentinel := Sentinel(answer.Status, answer.Code); sentinel != nil {
		return fmt.Errorf("%w: %w", sentinel, err)
	}
	return err
}
