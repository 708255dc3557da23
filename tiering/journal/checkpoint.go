package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Checkpoint is where a reader may start instead of at the first object: the facts that
// reading up to Chain.Next has established, and the sum of the objects.
type Checkpoint struct {
	Chain   Chain
	History History
	State   []byte // of the journal's state machine
	// Attached are bytes that the journal's leader keeps next to the state for later
	// leaders, such as the states of coordinators; empty if there are none. They are
	// derived from records, may lag behind the chain, and say themselves by how much.
	Attached []byte
}

// Versions of the payload: one without attachment, which programs before it read
// too, one with, and one of a journal whose floor was moved, or planned to be.
const (
	checkpointPlain    = 1
	checkpointAttached = 2
	checkpointFloor    = 3
)

// Payload of a checkpoint object:
//
//	version u8, 1 to 3
//	| next u64 | epoch u32 | fence, tail, last: each seq u64, object id[16]
//	| leader id[16]
//	| leaderships: count u32, each: epoch u32, incarnation id[16]
//	| covered: count u32, each: incarnation id[16], LSN u64
//	| state: length u32, bytes
//	| version 2: attached: length u32, not zero, bytes
//	| version 3: attached: length u32, bytes
//	| plans of the last floor: count u32, from 1 to 16, each: number u64,
//	  checkpoint: seq u64, object id[16] | object id[16]
func (c *Checkpoint) encode() []byte {
	w := wire.Writer{B: make([]byte, 0, 256+len(c.State)+len(c.Attached))}
	version := uint8(checkpointPlain)
	switch {
	case len(c.History.floors) > 0:
		version = checkpointFloor
	case len(c.Attached) > 0:
		version = checkpointAttached
	}
	w.U8(version)
	w.U64(c.Chain.Next)
	w.U32(c.Chain.Epoch)
	for _, ref := range []segment.Ref{c.Chain.Fence, c.Chain.Tail, c.Chain.Last} {
		w.U64(ref.Seq)
		w.ID(ref.Object)
	}
	w.ID(c.Chain.Leader)
	c.History.encode(&w)
	w.Bytes32(c.State)
	if version >= checkpointAttached {
		w.Bytes32(c.Attached)
	}
	if version == checkpointFloor {
		c.History.floors.encode(&w)
	}
	return w.B
}

// decodeCheckpoint decodes a payload; base gives the rest.
func decodeCheckpoint(base Chain, payload []byte) (*Checkpoint, error) {
	r := wire.NewReader(payload)
	version := r.U8()
	if r.Err() == nil && (version < checkpointPlain || version > checkpointFloor) {
		return nil, fmt.Errorf("%w: checkpoint payload version %d, this program reads up to %d", segment.ErrUnsupported, version, checkpointFloor)
	}
	c := &Checkpoint{Chain: base}
	c.Chain.Next, c.Chain.Epoch = r.U64(), r.U32()
	for _, ref := range []*segment.Ref{&c.Chain.Fence, &c.Chain.Tail, &c.Chain.Last} {
		ref.Seq, ref.Object = r.U64(), r.ID()
	}
	c.Chain.Leader = r.ID()
	var err error
	if c.History, err = decodeHistory(r); err != nil {
		return nil, err
	}
	c.State = bytes.Clone(r.Bytes32())
	if version >= checkpointAttached {
		c.Attached = bytes.Clone(r.Bytes32())
	}
	if version == checkpointAttached && r.Err() == nil && len(c.Attached) == 0 {
		return nil, fmt.Errorf("%w: checkpoint of version %d without an attachment", segment.ErrCorrupt, version)
	}
	if version == checkpointFloor {
		if c.History.floors, err = decodeFloorPlans(r); err != nil {
			return nil, err
		}
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("%w: checkpoint: %w", segment.ErrCorrupt, err)
	}
	if ch := &c.Chain; ch.Last.Seq == 0 || ch.Next != ch.Last.Seq+1 || ch.Epoch == 0 || ch.Fence.Seq == 0 {
		return nil, fmt.Errorf("%w: checkpoint before seq %d names seq %d, epoch %d", segment.ErrCorrupt, ch.Next, ch.Last.Seq, ch.Epoch)
	}
	return c, nil
}

// maxHints is how many checkpoints are tried before a journal is read from its floor.
const maxHints = 4

// LoadCheckpoint returns the newest usable checkpoint of a journal, nil if
// there is none: then the journal is read from its first object. base is the
// result of NewChain.
//
// The checkpoint that the floor names is the truth about everything below, and an
// error if it cannot be had. Those above it are hints, found by listing: one that
// does not fit the journal is passed over, or not found, and costs time only. A hint may
// be trusted because only confirmed objects go into checkpoints, and these never
// change. Its name and the object in the bucket at its seq must agree. The index objects
// that it names, says names, must all be kept. If the checkpoints of both last floors are
// lost, it is enough that they are all there: no leader can remove any then.
func LoadCheckpoint(ctx context.Context, store objstore.Store, base Chain, names Names) (*Checkpoint, error) {
	f := floors{store: store, journal: base.Journal}
	floor, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	hints, err := listCheckpoints(ctx, store, base.Journal)
	if err != nil { // once more, as doing without costs more than asking
		hints, _ = listCheckpoints(ctx, store, base.Journal)
	}
	keeping := keeping{floors: &f, base: base, names: names}
	var notKept *Checkpoint // the newest one
	for i := len(hints) - 1; i >= max(0, len(hints)-maxHints) && hints[i].Seq >= floor; i-- {
		c, err := readCheckpoint(ctx, store, base, segment.CheckpointKey(base.Journal, hints[i]))
		if err != nil {
			continue // removed since, damaged or of another version: the next one, or the objects themselves
		}
		err = keeping.check(ctx, c)
		if err != nil && (notKept != nil || !unusable(err)) || !standsFor(ctx, store, base.Journal, c) {
			continue
		}
		if err == nil {
			return c, nil
		}
		notKept = c
	}
	if floor == 0 {
		return nil, nil
	}
	c, err := f.checkpointOrBefore(ctx, base)
	if notKept == nil || !unusable(err) {
		return c, err
	}
	switch missing := keeping.there(ctx, notKept); {
	case missing == nil:
		return notKept, nil
	case !unusable(missing):
		return nil, fmt.Errorf("%w; %v", missing, err)
	}
	return nil, err
}

// checkpointOrBefore returns the checkpoint of the floor in force, or, if that is lost, of
// the floor before. It goes back once only: if a damaged floor was passed over, the floor in
// force is already the last but one.
func (f *floors) checkpointOrBefore(ctx context.Context, base Chain) (*Checkpoint, error) {
	c, err := f.checkpoint(ctx, base)
	switch {
	case !lost.Is(err):
		return c, err
	case f.damaged != nil:
		return nil, errors.Join(f.damaged, err)
	}
	return f.oneBack(ctx, base, err)
}

// oneBack returns the checkpoint of the floor before the one in force, whose checkpoint is
// lost: no object from there on is deleted (PROTOCOL.md, rule 22). Floors before that are of
// no use, because objects above them are deleted.
func (f *floors) oneBack(ctx context.Context, base Chain, lost error) (*Checkpoint, error) {
	before, err := f.before(ctx)
	var c *Checkpoint
	if err == nil {
		c, err = before.checkpoint(ctx, base)
	}
	switch {
	case unusable(err):
		return nil, errors.Join(lost, err)
	case err != nil: // asked again, the store may have it
		return nil, fmt.Errorf("%w; %v", err, lost)
	}
	c.Chain.Spared = f.floor.Floor
	return c, nil
}

// before returns the floor before the one in force.
func (f *floors) before(ctx context.Context) (*floors, error) {
	before := &floors{store: f.store, journal: f.journal}
	if f.n < 2 {
		return nil, fmt.Errorf("%w: journal %d has no floor before floor %d", objstore.ErrNotFound, f.journal, f.n)
	}
	b, err := f.get(ctx, f.n-1)
	if err == nil {
		err = before.take(f.n-1, b)
	}
	if err != nil {
		return nil, fmt.Errorf("read floor %d of journal %d: %w", f.n-1, f.journal, err)
	}
	return before, nil
}

// ErrNotYet is a good checkpoint below which nothing may be deleted, because its journal has
// not used all that deletion needs for long enough. Later checkpoints do.
var ErrNotYet = errors.New("nothing is deleted below this checkpoint")

// Spared finds the seq below which objects of a journal may be deleted: that of the last
// floor but one, if a start from its checkpoint would do. One goroutine uses it.
type Spared struct {
	floors floors
	base   Chain
	check  func(ctx context.Context, store objstore.Store, c *Checkpoint) error
	n      uint64 // of the floor in force when seq was found
	seq    uint64

	keeping keeping
}

// NewSpared prepares to look. check and names are those of CheckpointerOptions, and base is
// the result of NewChain.
func NewSpared(store objstore.Store, base Chain, check func(context.Context, objstore.Store, *Checkpoint) error, names Names) *Spared {
	s := &Spared{floors: floors{store: store, journal: base.Journal}, base: base, check: check}
	s.keeping = keeping{floors: &s.floors, base: base, names: names}
	return s
}

// Kept returns which index objects stay: those from a seq on, and those of which has is
// true. Seq 0 stands for all. Errors are those of Seq, and that the checkpoint of the last
// floor cannot be read.
func (s *Spared) Kept(ctx context.Context) (from uint64, has func(segment.IndexName) bool, err error) {
	seq, err := s.Seq(ctx)
	if err != nil || seq == 0 {
		return 0, nil, err
	}
	kept, err := s.keeping.now(ctx)
	if err != nil {
		return 0, nil, err
	}
	return kept.from, kept.has, nil
}

// Seq returns the seq; 0 if there is none, or check says ErrNotYet. A checkpoint that is not good is an error: then
// nothing more may be deleted until the floor has moved on.
func (s *Spared) Seq(ctx context.Context) (uint64, error) {
	if _, err := s.floors.read(ctx); err != nil {
		return 0, err
	}
	if s.floors.n < 2 {
		return 0, nil
	}
	if s.floors.n == s.n {
		return s.seq, nil
	}
	before, err := s.floors.before(ctx)
	if err != nil {
		return 0, err
	}
	c, err := before.checkpoint(ctx, s.base)
	if err == nil && s.check != nil {
		err = s.check(ctx, s.floors.store, c)
	}
	switch {
	case errors.Is(err, ErrNotYet):
		s.n, s.seq = s.floors.n, 0
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("nothing is deleted in journal %d: %w", s.base.Journal, err)
	}
	s.n, s.seq = s.floors.n, before.floor.Floor
	return s.seq, nil
}

// standsFor reports whether the journal has the object that a hint is named after.
func standsFor(ctx context.Context, store objstore.Store, journal uint32, c *Checkpoint) bool {
	ctx, cancel := context.WithTimeout(ctx, getLimit)
	defer cancel()
	o, err := ReadObject(ctx, store, journal, c.Chain.Last.Seq)
	return err == nil && o.Ref() == c.Chain.Last
}

func listCheckpoints(ctx context.Context, store objstore.Store, journal uint32) ([]segment.Ref, error) {
	var found []segment.Ref
	ctx, cancel := context.WithTimeout(ctx, getLimit)
	defer cancel()
	err := store.List(ctx, segment.CheckpointPrefix(journal), "", func(i objstore.Info) error {
		if at, ok := segment.ParseCheckpointKey(journal, i.Key); ok {
			found = append(found, at)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list checkpoints of journal %d: %w", journal, err)
	}
	slices.SortFunc(found, func(a, b segment.Ref) int { return int(min(max(int64(a.Seq)-int64(b.Seq), -1), 1)) })
	return found, nil
}

func readCheckpoint(ctx context.Context, store objstore.Store, base Chain, key string) (*Checkpoint, error) {
	b, err := getCheckpoint(ctx, store, key)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	return OpenCheckpoint(base, key, b)
}

// getCheckpoint gives up a request that hangs.
func getCheckpoint(ctx context.Context, store objstore.Store, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, checkpointLimit)
	defer cancel()
	return store.Get(ctx, key)
}

// OpenCheckpoint decodes the checkpoint found at key. base gives the rest.
func OpenCheckpoint(base Chain, key string, b []byte) (*Checkpoint, error) {
	blob, err := segment.DecodeBlob(segment.KindCheckpoint, b)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", key, err)
	}
	c, err := decodeCheckpoint(base, blob.Payload)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", key, err)
	}
	if blob.Cluster != base.Cluster || blob.Journal != base.Journal || segment.CheckpointKey(base.Journal, c.Chain.Last) != key {
		return nil, fmt.Errorf("%w: checkpoint %s holds seq %d of journal %d of cluster %s", segment.ErrCorrupt, key, c.Chain.Last.Seq, blob.Journal, blob.Cluster.Base64())
	}
	return c, nil
}

// checkpoint is the one that the floor in force names.
func (f *floors) checkpoint(ctx context.Context, base Chain) (*Checkpoint, error) {
	b, err := getCheckpoint(ctx, f.store, f.floor.Checkpoint)
	if err == nil && sha256.Sum256(b) != f.floor.Hash {
		err = fmt.Errorf("%w: checkpoint %s is not the one that the floor names", segment.ErrCorrupt, f.floor.Checkpoint)
	}
	var c *Checkpoint
	if err == nil {
		c, err = OpenCheckpoint(base, f.floor.Checkpoint, b)
	}
	if err == nil && c.Chain.Next != f.floor.Floor { // a start from it would fall below the floor each time
		err = fmt.Errorf("%w: the floor is seq %d, but checkpoint %s stands for all below seq %d", segment.ErrCorrupt, f.floor.Floor, f.floor.Checkpoint, c.Chain.Next)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint of floor %d of journal %d: %w", f.n, f.journal, err)
	}
	return c, nil
}
