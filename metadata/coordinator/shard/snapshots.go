package shard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Snapshots are the newest snapshots of the Machines of one journal, which its
// checkpoints carry. A partition whose Machine is not loaded keeps the
// snapshot of the checkpoint that the journal was started from. It is safe for
// concurrent use.
type Snapshots struct {
	mu    sync.Mutex
	byKey map[partlog.Key]Snapshot
}

// NewSnapshots is for a journal without a checkpoint.
func NewSnapshots() *Snapshots { return &Snapshots{byKey: map[partlog.Key]Snapshot{}} }

// Get returns the newest snapshot of a partition.
func (s *Snapshots) Get(k partlog.Key) (Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot, ok := s.byKey[k]
	return snapshot, ok
}

// Put keeps a snapshot, which must not be changed any more.
func (s *Snapshots) Put(k partlog.Key, snapshot Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byKey[k] = snapshot
}

// Keys lists the partitions that a snapshot is kept of, in order.
func (s *Snapshots) Keys() []partlog.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.byKey), partlog.Key.Compare)
}

// Forget drops the snapshot of a partition that is gone.
func (s *Snapshots) Forget(k partlog.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, k)
}

const (
	snapshotsVersion   = 1
	snapshotsFixedSize = 8
	snapshotFixedSize  = 32
	// maxSnapshotBytes bounds all snapshots in one checkpoint; an object has at most
	// 256 MiB. Snapshots beyond are left out, and their partitions are read from the
	// beginning.
	maxSnapshotBytes = 128 << 20
)

// Encode returns the snapshots as a checkpoint carries them, nil if there are none:
//
//	0  2  version, 1
//	2  2  zero
//	4  4  snapshots, at least one
//	8     the snapshots, in the order of topic id and partition number:
//	   0 16  topic id
//	  16  4  partition number
//	  20  8  offset of the first record that is not in it, not zero
//	  28  4  length of the state
//	  32     the state
func (s *Snapshots) Encode() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, size := s.fittingLocked()
	if len(keys) == 0 {
		return nil
	}
	w := wire.Writer{B: make([]byte, 0, size)}
	w.U16(snapshotsVersion)
	w.Zeros(2)
	w.U32(uint32(len(keys)))
	for _, k := range keys {
		snapshot := s.byKey[k]
		w.ID(k.Topic)
		w.I32(k.Index)
		w.I64(snapshot.Offset)
		w.Bytes32(snapshot.State)
	}
	return w.B
}

// fittingLocked are the partitions, in order, whose snapshots find room, and how
// many bytes it takes to encode them.
func (s *Snapshots) fittingLocked() (keys []partlog.Key, size int) {
	size = snapshotsFixedSize
	for _, k := range slices.SortedFunc(maps.Keys(s.byKey), partlog.Key.Compare) {
		n := snapshotFixedSize + len(s.byKey[k].State)
		if size+n > maxSnapshotBytes {
			continue
		}
		size += n
		keys = append(keys, k)
	}
	return keys, size
}

// DecodeSnapshots reads the bytes that Encode made, and keeps them. Errors wrap
// segment.ErrCorrupt or segment.ErrUnsupported.
func DecodeSnapshots(b []byte) (*Snapshots, error) {
	s := NewSnapshots()
	if len(b) == 0 {
		return s, nil
	}
	r := wire.NewReader(b)
	if v := r.U16(); r.Err() == nil && v != snapshotsVersion {
		return nil, fmt.Errorf("%w: coordinators' snapshots are of version %d, this program reads %d", segment.ErrUnsupported, v, snapshotsVersion)
	}
	err := s.decode(r)
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		return nil, &segment.CorruptError{Object: "coordinators' snapshots", Offset: int64(r.Pos()), Reason: err.Error()}
	}
	return s, nil
}

func (s *Snapshots) decode(r *wire.Reader) error {
	r.Zeros(2)
	n := r.U32()
	if r.Err() == nil && n == 0 {
		return errors.New("no snapshot")
	}
	var before partlog.Key
	for i := range r.Count(n, snapshotFixedSize) {
		k := partlog.Key{Topic: r.ID(), Index: r.I32()}
		snapshot := Snapshot{Offset: r.I64(), State: r.Bytes32()}
		switch {
		case r.Err() != nil:
			return r.Err()
		case k.Topic.IsZero() || k.Index < 0 || i > 0 && before.Compare(k) >= 0:
			return fmt.Errorf("partition %s-%d after %s-%d", k.Topic, k.Index, before.Topic, before.Index)
		case snapshot.Offset <= 0:
			return fmt.Errorf("partition %s-%d has a snapshot at offset %d", k.Topic, k.Index, snapshot.Offset)
		}
		s.byKey[k], before = snapshot, k
	}
	return r.Err()
}
