package group

import (
	"fmt"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/wire"
)

// A snapshot, big-endian; str is a length u16 and bytes, bytes a length u32 and
// bytes, opt a byte 0, or 1 and a str:
//
//	version u8 (1)
//	groups u32, each, ascending by id:
//	  id str
//	  has metadata u8; if 1:
//	    protocol type str | generation i32 | protocol opt | leader opt | state since i64 (ms)
//	    members u32, each, in the group's order:
//	      id str | instance opt | client id str | client host str
//	      rebalance time-out i32 (ms) | session time-out i32 (ms) | subscription bytes | assignment bytes
//	  offsets u32, each, ascending by topic and partition:
//	    topic str | partition i32 | topic id [16] | offset i64 | leader epoch i32
//	    metadata str | committed i64 (ms) | expires i64 (ms)
const snapshotVersion = 1

// The least bytes that one item of each list takes.
const (
	minGroup  = 2 + 1 + 4
	minMember = 2 + 1 + 2 + 2 + 4 + 4 + 4 + 4
	minOffset = 2 + 4 + 16 + 8 + 4 + 2 + 8 + 8
)

// Snapshot implements coordinator.Machine.
func (m *Machine) Snapshot() []byte {
	w := &wire.Writer{}
	w.U8(snapshotVersion)
	w.U32(uint32(len(m.kept)))
	for _, id := range slices.Sorted(maps.Keys(m.kept)) {
		m.kept[id].encode(w, id)
	}
	if w.Err() != nil {
		panic(fmt.Sprintf("state of consumer groups does not fit its format: %v", w.Err())) // the records limit each length
	}
	return w.B
}

func (k *kept) encode(w *wire.Writer, id string) {
	w.String16(id)
	if k.meta == nil {
		w.U8(0)
	} else {
		w.U8(1)
		k.meta.encode(w)
	}
	w.U32(uint32(len(k.offsets)))
	for _, p := range k.sortedPartitions() {
		o := k.offsets[p]
		w.String16(p.topic)
		w.I32(p.index)
		w.ID(o.TopicID)
		w.I64(o.Offset)
		w.I32(o.LeaderEpoch)
		w.String16(o.Metadata)
		w.I64(o.CommitMs)
		w.I64(o.ExpireMs)
	}
}

func (meta *metadata) encode(w *wire.Writer) {
	w.String16(meta.protocolType)
	w.I32(meta.generation)
	encodeOptional(w, meta.protocol)
	encodeOptional(w, meta.leader)
	w.I64(meta.sinceMs)
	w.U32(uint32(len(meta.members)))
	for _, k := range meta.members {
		w.String16(k.id)
		encodeOptional(w, k.instance)
		w.String16(k.clientID)
		w.String16(k.clientHost)
		w.I32(k.rebalanceMs)
		w.I32(k.sessionMs)
		w.Bytes32(k.subscription)
		w.Bytes32(k.assignment)
	}
}

func encodeOptional(w *wire.Writer, s *string) {
	if s == nil {
		w.U8(0)
		return
	}
	w.U8(1)
	w.String16(*s)
}

// Restore implements coordinator.Machine. With an error, which wraps ErrTooNew
// or ErrCorrupt, the state is as before.
func (m *Machine) Restore(snapshot []byte) error {
	r := wire.NewReader(snapshot)
	if v := r.U8(); r.Err() == nil && v != snapshotVersion {
		return fmt.Errorf("%w: snapshot version %d", ErrTooNew, v)
	}
	groups := map[string]*kept{}
	last := ""
	for i := range r.Count(r.U32(), minGroup) {
		id, k, err := decodeKept(r)
		if err != nil {
			return fmt.Errorf("%w: restore group %q: %w", ErrCorrupt, id, err)
		}
		if i > 0 && id <= last {
			return fmt.Errorf("%w: restore groups: %q after %q", ErrCorrupt, id, last)
		}
		groups[id], last = k, id
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("%w: restore groups: %w", ErrCorrupt, err)
	}
	m.kept = groups
	return nil
}

func decodeKept(r *wire.Reader) (id string, k *kept, err error) {
	id, k = r.String16(), &kept{offsets: map[partition]Offset{}}
	if decodeFlag(r, &err) {
		k.meta = decodeSnapshotMetadata(r, &err)
	}
	var last partition
	for i := range r.Count(r.U32(), minOffset) {
		p := partition{r.String16(), r.I32()}
		k.offsets[p] = Offset{
			TopicID: r.ID(), Offset: r.I64(), LeaderEpoch: r.I32(), Metadata: r.String16(), CommitMs: r.I64(), ExpireMs: r.I64(),
		}
		if i > 0 && comparePartitions(last, p) >= 0 && r.Err() == nil {
			return id, nil, fmt.Errorf("partition %v after %v", p, last)
		}
		last = p
	}
	if r.Err() != nil {
		err = r.Err()
	}
	if err == nil && k.meta == nil && len(k.offsets) == 0 {
		err = fmt.Errorf("it has neither metadata nor offsets")
	}
	return id, k, err
}

func decodeSnapshotMetadata(r *wire.Reader, err *error) *metadata {
	meta := &metadata{
		protocolType: r.String16(), generation: r.I32(), protocol: decodeOptional(r, err), leader: decodeOptional(r, err), sinceMs: r.I64(),
	}
	meta.members = make([]keptMember, r.Count(r.U32(), minMember))
	for i := range meta.members {
		meta.members[i] = keptMember{
			id: r.String16(), instance: decodeOptional(r, err), clientID: r.String16(), clientHost: r.String16(),
			rebalanceMs: r.I32(), sessionMs: r.I32(), subscription: copied(r.Bytes32()), assignment: copied(r.Bytes32()),
		}
	}
	return meta
}

func decodeOptional(r *wire.Reader, err *error) *string {
	if !decodeFlag(r, err) {
		return nil
	}
	s := r.String16()
	return &s
}

// decodeFlag decodes a byte that is 0 or 1. It notes another one in err.
func decodeFlag(r *wire.Reader, err *error) bool {
	at, v := r.Pos(), r.U8()
	if v > 1 {
		*err = fmt.Errorf("flag at position %d is %d", at, v)
	}
	return v == 1
}
