// Package fetch is the read path: records, offsets and epochs of partitions,
// from the leader's memory, the block cache, or the bucket.
//
// It owns how a Fetch, ListOffsets or OffsetForLeaderEpoch is answered from the
// states of the journals, and what is read ahead of those who replay a partition.
// It promises that nothing is served above the committed head of a journal,
// nothing of an object before its own footer has been read and fits (or all of the
// partition's bytes in it have the CRC that the journal's state has of them, which
// is the footer's), and no batch whose CRC or offsets are wrong; that whatever sends a
// consumer elsewhere (an offset out of range, a latest or earliest offset, an
// unknown epoch) is said only of a head that was proved after the request
// arrived; that a log's end is said only once what was acknowledged before the
// request is committed; that a leader says that there is nothing to read only while it is known to
// lead, or while nobody can know; and that what is not known is an error, never zero or an empty list.
// It never follows a journal, never writes, and knows no wire format.
package fetch

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// The errors of a partition. ErrStorage and ErrNotReady carry their cause.
var (
	ErrUnknownPartition = errors.New("unknown partition")
	ErrOutOfRange       = errors.New("offset out of range")
	ErrFencedEpoch      = errors.New("leader epoch is older than the partition's")
	ErrUnknownEpoch     = errors.New("leader epoch is newer than the partition's")
	// ErrStorage: an object that must be there is missing or damaged. Asking again
	// may help only if the damage was on the way.
	ErrStorage = errors.New("stored records are missing or damaged")
	// ErrNotReady: this node cannot tell at the moment; ask again.
	ErrNotReady = errors.New("not known at the moment")
	// ErrNotLeader: this node led the partition, and found out that it leads no more.
	ErrNotLeader = errors.New("this node does not lead the partition any more")
	// ErrTimestamp: ListOffset was asked for a special timestamp it does not know.
	ErrTimestamp = errors.New("unknown special timestamp")
)

// Limits.
const (
	// maxFetch is the most bytes of one response but for a first batch that is
	// larger, whatever the client allows: Kafka's fetch.max.bytes.
	maxFetch = 55 << 20
	// proveLimit is how long a request waits for the proof of a head.
	proveLimit = time.Second
	// settleLimit is how long a request waits for what was acknowledged before it to
	// be committed.
	settleLimit = 5 * time.Second
	// readLimit is how long a request may spend on reading objects.
	readLimit = 10 * time.Second
	// memoryLimit is how long a Fetch waits for room in MaxResponseBytes.
	memoryLimit = 2 * time.Second
	// shortEvery is the time between two calls of OnShort.
	shortEvery = 250 * time.Millisecond
	// errorWait is how long a Fetch that can read nothing is held at least: a client
	// would ask again at once.
	errorWait = 500 * time.Millisecond
	// maxExtents is how many extents are read for one partition of a Fetch.
	maxExtents = 64
	// scanners is how many batches ListOffset decompresses at once.
	scanners = 2
)

// HeadProver proves the head of a journal: nil means that every segment that was
// committed before the call is applied to the journal's state, ErrNotLeader that this
// node led the journal and leads it no more.
type HeadProver interface {
	Prove(ctx context.Context) error
}

// Tail is the memory of a journal's leader: whole objects that it has committed
// lately. It returns the same block each time, so that bytes are checked only once.
type Tail interface {
	Object(name segment.Name) (*cache.Block, bool)
}

// JournalView is what a Reader needs of one data journal. It may be replaced
// from one request to the next.
type JournalView struct {
	State *partlog.State
	Head  HeadProver
	Tail  Tail // nil if this node does not lead the journal
	// AppendEnd is the offset after the last one the leader has appended, be it
	// committed or not. Nil if this node does not lead the journal.
	AppendEnd func(partlog.Key) (int64, bool)
	// Settle returns nil once everything that the leader acknowledged before the call
	// is applied. Nil if this node does not lead the journal.
	Settle func(ctx context.Context) error
	// Await notes that a request waits for records, until the function it returns is
	// called. Nil if records need no looking for.
	Await func() (end func())
	// Confirm returns nil if this node is known to lead the journal still, ErrNotLeader
	// if it leads it no more, and any other error if that is not known. Nil if this
	// node does not lead the journal.
	Confirm func(context.Context) error
}

// Config is what a Reader is made of. The functions are called for every request
// and must be quick.
type Config struct {
	Cluster segment.ID
	Cache   *cache.Cache
	// Journal returns a data journal that this node leads or follows.
	Journal func(id uint32) (*JournalView, bool)
	// Locate returns the journal that a partition lives in; false if there is no
	// such partition.
	Locate func(partlog.Key) (journal uint32, ok bool)
	// MaxResponseBytes bounds the records held by responses that are not released
	// yet, but for one batch each of those for which there is no room. Zero means
	// 256 MiB.
	MaxResponseBytes int64
	// ScanBytes bounds the memory in which records are decompressed to look at their
	// timestamps, over all requests. Zero, or less than one batch may take, means
	// that much.
	ScanBytes int64
	// Damaged is called when stored records turn out to be damaged or missing for good,
	// and again when that is still so; Restored when nothing of the object is any more,
	// or no reader asks for it. Both may be nil.
	Damaged  func(Damage)
	Restored func(object string)
	Now      func() time.Time // time.Now if nil
	// Pages makes index pages again; nil: they stay lost.
	Pages IndexPages
	// Undecodable is called once for each batch that was met whose records cannot be
	// decoded, though it is stored as a client sent it. May be nil.
	Undecodable func(Damage)
	// Concurrency is how many objects one request reads at once. Zero means 8.
	Concurrency int
}

func (c *Config) validate() error {
	switch {
	case c.Cluster.IsZero():
		return errors.New("open reader: no cluster id")
	case c.Cache == nil || c.Journal == nil || c.Locate == nil:
		return errors.New("open reader: cache, journals and locations are required")
	case c.MaxResponseBytes < 0 || c.ScanBytes < 0 || c.Concurrency < 0:
		return errors.New("open reader: negative limit")
	}
	return nil
}

// Reader answers reads. It is safe for concurrent use and starts nothing that
// outlives a call.
type Reader struct {
	cfg         Config
	memory      *semaphore.Weighted // of MaxResponseBytes
	scans       *batch.Room
	streams     *streams
	verdicts    *verdicts
	contents    *contents
	tailObjects uint64
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
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	return &Reader{
		cfg: cfg, memory: semaphore.NewWeighted(cfg.MaxResponseBytes),
		scans:   batch.NewRoom(cfg.ScanBytes, scanners),
		streams: newStreams(cfg.Cache), verdicts: newVerdicts(&cfg), tailObjects: tailObjects,
		contents: newContents(cfg.Undecodable), errorWait: errorWait,
	}, nil
}

// Partition is a partition of a Request.
type Partition struct {
	Key         partlog.Key
	Offset      int64 // the first one wanted
	MaxBytes    int32
	LeaderEpoch int32 // as the client knows it, -1 if it does not
}

// Request is a Fetch.
type Request struct {
	Partitions         []Partition
	MinBytes, MaxBytes int32
	MaxWait            time.Duration
	// OnShort is called now and then, with the bytes missing, while the answer waits
	// for memory that others hold; it may be nil. It must not block.
	OnShort func(bytes int64)
}

// Result is the answer for one partition of a Request.
type Result struct {
	// Records are whole record batches back to back, in pieces that may end inside a
	// batch. They are slices of cached memory and must not be changed. The first
	// batch holds the offset asked for, and may start before it.
	Records       [][]byte
	HighWatermark int64 // -1 if not known
	LogStart      int64 // -1 if not known
	Epoch         int32 // the partition's leader epoch, -1 if not known
	Err           error
}

// Response is the answer to a Request, with a Result for each partition in the
// order of the request.
type Response struct {
	Results []Result
	release func()
}

// Release tells that the records are not needed any more, such as after they
// were written to a socket. Every Response must be released, once.
func (r *Response) Release() { r.release() }
