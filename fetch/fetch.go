// Package fetch is the read path: records, offsets and epochs of partitions,
// from the leader's memory, the block cache, or the bucket.
//
// It owns the answers to Fetch, ListOffsets and OffsetForLeaderEpoch, which it takes from
// the states of the journals, and the read-ahead for readers that replay a partition. It
// promises:
//
//   - It serves no record above the committed head of a journal.
//   - It serves records of an object only after a check. Either the object's footer fits
//     the journal's state, or all bytes of the extent have the CRC that the state has.
//   - It serves no batch whose CRC or offsets are wrong.
//   - Answers that send a consumer elsewhere rest on a head that was proved after the
//     request arrived. These are: out of range, a latest or earliest offset, an unknown
//     epoch.
//   - It gives a log's end only once all records that were acknowledged before the request
//     are committed.
//   - A leader answers that there is nothing to read only while it is known to lead, or
//     while that cannot be known.
//   - An unknown value is an error, never zero or an empty list.
//
// It never follows a journal, never writes, and knows no wire format.
package fetch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// The errors of a partition. ErrStorage and ErrNotReady carry their cause.
var (
	ErrUnknownPartition = errors.New("unknown partition")
	ErrOutOfRange       = errors.New("offset out of range")
	ErrFencedEpoch      = errors.New("leader epoch is older than the partition's")
	ErrUnknownEpoch     = errors.New("leader epoch is newer than the partition's")
	// ErrStorage is an object that must be there, but is missing or damaged. Another
	// request may help only if the damage happened on the way.
	ErrStorage = errors.New("stored records are missing or damaged")
	// ErrNotReady means that this node does not know the answer at the moment. The client
	// should ask again.
	ErrNotReady = errors.New("not known at the moment")
	// ErrNotLeader means that this node does not lead the partition, or not any more: another
	// one does, or will.
	ErrNotLeader = errors.New("this node does not lead the partition")
	// ErrTimestamp is a special timestamp that ListOffset does not know.
	ErrTimestamp = errors.New("unknown special timestamp")
)

// Limits.
const (
	// maxFetch is the most bytes of one response, whatever the client allows, unless its
	// first batch is larger: Kafka's fetch.max.bytes.
	maxFetch = 55 << 20
	// proveLimit is how long a request waits for the proof of a head.
	proveLimit = time.Second
	// settleLimit is how long a request waits until the records that were acknowledged
	// before it are committed.
	settleLimit = 5 * time.Second
	// readLimit is how long a request may spend on reading objects.
	readLimit = 10 * time.Second
	// memoryLimit is how long a Fetch waits for room in MaxResponseBytes.
	memoryLimit = 2 * time.Second
	// shortEvery is the time between two calls of OnShort.
	shortEvery = 250 * time.Millisecond
	// errorWait is how long a Fetch that can read nothing waits at least: its client would
	// ask again at once.
	errorWait = 500 * time.Millisecond
	// maxExtents is how many extents are read for one partition of a Fetch.
	maxExtents = 64
	// scanners is how many batches ListOffset decompresses at once.
	scanners = 2
)

// HeadProver proves the head of a journal. Nil means that every segment that was
// committed before the call is applied to the journal's state. ErrNotLeader means that
// this node led the journal and does not lead it any more.
type HeadProver interface {
	Prove(ctx context.Context) error
}

// Tail is the memory of a journal's leader: whole objects that it has committed
// lately. It returns the same block each time, so that bytes are checked only once. The
// caller gets a reference to the block, and releases it.
type Tail interface {
	Object(name segment.Name) (*cache.Block, bool)
}

// JournalView is the part of one data journal that a Reader needs. It may be replaced
// between two requests.
type JournalView struct {
	State *partlog.State
	Head  HeadProver
	Tail  Tail // nil if this node does not lead the journal
	// AppendEnd returns the offset after the last appended record, whether it is committed
	// or not. Nil if this node does not lead the journal.
	AppendEnd func(partlog.Key) (int64, bool)
	// Settle returns nil once all records that the leader acknowledged before the call are
	// applied. Nil if this node does not lead the journal.
	Settle func(ctx context.Context) error
	// Await notes that a request waits for records, until the returned function is called.
	// Nil if new records arrive without a look at the bucket.
	Await func() (end func())
	// Lost is true if this node led the journal, and only follows it now. Clients get the
	// records that it has, and are sent away where it has none.
	Lost bool
	// Confirm returns nil if this node is known to lead the journal still. ErrNotLeader
	// means that it does not lead it any more, and any other error that this is not known.
	// Nil if this node does not lead the journal.
	Confirm func(context.Context) error
}

// Config configures a Reader. Its functions are called for every request and must be
// quick.
type Config struct {
	Cluster segment.ID
	Cache   *cache.Cache
	// Journal returns a data journal that this node leads or follows. The error wraps
	// ErrNotLeader if only other nodes have it, and ErrNotReady if this one will have it.
	Journal func(id uint32) (*JournalView, error)
	// Locate returns the journal that a partition lives in; false if there is no such
	// partition.
	Locate func(partlog.Key) (journal uint32, ok bool)
	// MaxResponseBytes bounds the records of all responses that are not released yet. A
	// response for which there is no room holds one batch all the same. Zero means 256 MiB.
	MaxResponseBytes int64
	// MaxLentBytes bounds the memory that responses hold beyond their records, because the
	// records lie in larger pieces of memory. Records for which there is no room are copied.
	// Zero means 64 MiB.
	MaxLentBytes int64
	// Pool has the memory of copies; nil: the garbage collector has it.
	Pool *buffer.Pool
	// ScanBytes bounds the memory in which all requests decompress records to look at
	// their timestamps. It is raised to the most that one batch may take.
	ScanBytes int64
	// OnDamaged is called when stored records turn out to be damaged or missing for good,
	// and again when that is confirmed. OnRestored is called when no damage of the object
	// is left, or no reader asks for it any more. Both may be nil.
	OnDamaged  func(Damage)
	OnRestored func(object string)
	Now        func() time.Time // time.Now if nil
	// Pages rebuilds index pages; if it is nil, lost pages stay lost.
	Pages IndexPages
	// Removed reads an index page that is gone where the newest floor names its extents; if
	// it is nil, there are none.
	Removed func(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error)
	// OnUndecodable is called once for each batch whose records cannot be decoded, though
	// the batch is stored as a client sent it. It may be nil.
	OnUndecodable func(Damage)
	// Concurrency is how many objects one request reads at once. Zero means 8.
	Concurrency int
}

func (c *Config) validate() error {
	switch {
	case c.Cluster.IsZero():
		return errors.New("open reader: no cluster id")
	case c.Cache == nil || c.Journal == nil || c.Locate == nil:
		return errors.New("open reader: cache, journals and locations are required")
	case c.MaxResponseBytes < 0 || c.MaxLentBytes < 0 || c.ScanBytes < 0 || c.Concurrency < 0:
		return errors.New("open reader: negative limit")
	}
	return nil
}

// Reader answers reads. It is safe for concurrent use and starts nothing that
// outlives a call.
type Reader struct {
	cfg         Config
	memory      *semaphore.Weighted // of MaxResponseBytes
	loans       *loans              // of MaxLentBytes
	scans       *batch.Room
	streams     *streams
	verdicts    *verdicts
	undecodable *undecodable
	moments     atomic.Int64 // orders the losses of objects and the proofs of heads
	tailObjects uint64
	openBytes   int64
	errorWait   time.Duration
}

// NewReader returns a Reader.
func NewReader(cfg Config) (*Reader, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.MaxResponseBytes == 0 {
		cfg.MaxResponseBytes = 256 << 20
	}
	if cfg.MaxLentBytes == 0 {
		cfg.MaxLentBytes = 64 << 20
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	return &Reader{
		cfg: cfg, memory: semaphore.NewWeighted(cfg.MaxResponseBytes), loans: newLoans(cfg.MaxLentBytes),
		scans:   batch.NewRoom(cfg.ScanBytes, scanners),
		streams: newStreams(cfg.Cache), verdicts: newVerdicts(&cfg), tailObjects: tailObjects, openBytes: openBytes,
		undecodable: newUndecodable(cfg.OnUndecodable), errorWait: errorWait,
	}, nil
}

// Partition is a partition of a Request.
type Partition struct {
	Key         partlog.Key
	Offset      int64 // the first one wanted
	MaxBytes    int32
	LeaderEpoch int32 // that the client knows, -1 if it knows none
}

// Request is a Fetch.
type Request struct {
	Partitions         []Partition
	Standing           *Standing // in place of Partitions, if it is not nil
	MinBytes, MaxBytes int32
	MaxWait            time.Duration
	// Elsewhere returns the node that a client is to read a partition from in place of this
	// one, 0: it is served here. tail: this node has the records in its memory, or there are
	// none yet. It may be nil: all are served here.
	Elsewhere func(k partlog.Key, offset int64, tail bool) (node int32)
	// OnShort is called now and then, with the missing bytes, while the answer waits for
	// memory that other answers hold. It may be nil, and must not block.
	OnShort func(bytes int64)
}

// Result is the answer for one partition of a Request.
type Result struct {
	// Records are whole record batches back to back, in slices that may end inside a
	// batch. They are cached memory: they must not be changed, nor read after the Release
	// of the Response. The first batch holds the offset asked for, and may start before it.
	Records       [][]byte
	HighWatermark int64 // -1 if not known
	LogStart      int64 // -1 if not known
	Epoch         int32 // the partition's leader epoch, -1 if not known
	Slot          int32 // the partition's slot in the Standing of the request
	Elsewhere     int32 // the node to read from, without records and without an error; 0: this one
	Err           error
}

// Response is the answer to a Request, with a Result for each partition in the
// order of the request.
type Response struct {
	Results []Result
	release func()
}

// Release gives the memory back, once the records are not needed any more, such as after
// they were written to a socket. Other records are read into it then. Every Response must
// be released, once.
func (r *Response) Release() { r.release() }
