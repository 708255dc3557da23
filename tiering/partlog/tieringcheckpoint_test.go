package partlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"github.com/varvelog/varve/testenv/bytemap"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// mergedPageOf is a page of these extents.
func mergedPageOf(k Key, extents []Extent) []byte {
	var w wire.Writer
	refs := make([]mergedRef, len(extents))
	for i := range extents {
		refs[i] = mergedRefOf(&extents[i], mergedObjectOf(&extents[i]))
	}
	appendMergedPage(&w, k, refs)
	return w.B
}

// finalExtent is one that pages take.
func finalExtent(n segment.Name, base, last int64) Extent {
	x := mergedExtent(n, base, last)
	x.Length, x.Size = finalBytes, 2*finalBytes
	return x
}

// goldenTiered has of everything. Partition A has a page of four extents, of which the
// second is replaced, a damaged extent, and a page of refs. B has a shared segment and is
// dropped. There is an intent with an object in place, an unreleased object, and garbage of
// all kinds.
func goldenTiered(t testing.TB) *leader {
	t.Helper()
	l := &leader{library: library{State: mergedState(t), objects: map[segment.ID][]byte{}}}
	s := l.State
	id := func(n byte) segment.ID { return segment.ID{3, n} }
	own := func(n byte, base int64) segment.Name { return segment.OwnSegment(testTopic, 0, base, id(n)) }
	names := []segment.Name{own(1, 0), own(2, 5), own(3, 10), own(4, 15)}
	mustApply(t, s, data(9, 1), Intent{jobTwo, names}.Encode())
	x := mergedExtent(ownA, 0, 9)
	mustApply(t, s, data(10, 1), (&Result{Job: jobTwo, Last: true, Parts: []ResultPart{{Key: keyA, From: 0, To: 20, Replaced: []Extent{x}, Extents: []Extent{
		finalExtent(names[0], 0, 4), finalExtent(names[1], 5, 9), finalExtent(names[2], 10, 14), finalExtent(names[3], 15, 19)}}}}).Encode())
	l.plan(1)
	l.paged()
	third := segment.ID{9, 3}
	mustApply(t, s, data(11, 1), Intent{third, []segment.Name{own(5, 5), segment.SharedSegment(testJournal, id(6))}}.Encode())
	mustApply(t, s, data(12, 1), (&Result{Job: third, Parts: []ResultPart{{Key: keyA, From: 5, To: 10, Replaced: []Extent{finalExtent(names[1], 5, 9)},
		Extents: []Extent{mergedExtent(own(5, 5), 5, 9)}}}}).Encode())
	dead := segment.ID{9, 4}
	mustApply(t, s, data(13, 1), Intent{dead, []segment.Name{own(7, 9)}}.Encode(), Abandon{dead}.Encode(), Cleaned{keyA, 12, 34, 0}.Encode())
	r := Release{Class: ClassUser, Judged: Judged{5, 1}, Objects: []segment.Name{ownA}, Seqs: []Seqs{{3, 4}}}
	mustApply(t, s, data(14, 1), r.Encode(), (&Swept{Objects: []segment.ID{id(7)}}).Encode(), Cleaned{keyA, 14, 56, 8}.Encode())
	mustApply(t, s, data(15, 1), DeleteRecords{keyA, 2}.Encode(), Seal{keyB}.Encode(), Drop{keyB}.Encode())
	return l
}

// COMPATIBILITY: as for the versions before.
func TestTieredCheckpointsKeepTheirBytes(t *testing.T) {
	l := goldenTiered(t)
	want := snapshot(t, "v4-checkpoint.hex")
	if got := l.Encode(nil, segment.ID{}, nil); !bytes.Equal(got, want) {
		t.Errorf("checkpoint\n%x, the file has\n%x", got, want)
	}
	s, err := Decode(testJournal, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Hash() != l.Hash() {
		t.Error("the checkpoint holds another state")
	}
	_, page, _, _ := s.Find(keyA, 2, 1)
	if got, want := l.objects[page.Object], snapshot(t, "v2-index.hex"); !bytes.Equal(got, want) {
		t.Errorf("index payload\n%x, the file has\n%x", got, want)
	}
	if key := page.ObjectKey(); key != (segment.IndexName{Journal: testJournal, Seq: 10, Object: page.Object}).Key() {
		t.Errorf("the page lies in %s", key)
	}
}

func TestDamagedTieredCheckpointsAreRefused(t *testing.T) {
	good := snapshot(t, "v4-checkpoint.hex")
	for n := range good {
		if _, err := Decode(testJournal, good[:n], nil); !errors.Is(err, segment.ErrCorrupt) {
			t.Fatalf("cut to %d bytes: error %v", n, err)
		}
	}
	if _, err := Decode(testJournal, append(bytes.Clone(good), 0), nil); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("a byte too many: error %v", err)
	}
	merged := checkpointFixedSizeV4 + indexObjectSizeV4
	intent := merged + 2*mergedSize
	unreleased := intent + intentFixedSize + 2*intentItemSize
	garbage := unreleased + unreleasedSize
	seqs := garbage + 2*garbageSize
	part := seqs + garbageSeqsSize
	chunk := part + partFixedSizeV4 + epochStartSize + pagedChunkSize
	for name, at := range map[string]int{
		"judged beyond the head":             36 + 7,
		"judged in an epoch to come":         44 + 3,
		"unmerged beyond the head":           68,
		"index object of a later checkpoint": checkpointFixedSizeV4 + 27,
		"merged object twice":                -1,
		"intent without a job":               -2,
		"placed":                             intent + intentFixedSize + 44,
		"class of garbage":                   garbage + 44,
		"ended":                              garbage + 45,
		"deleted":                            garbage + 46,
		"class of seqs":                      seqs + 16,
		"seqs beyond the head":               seqs + 15,
		"dropped, not sealed":                part + 81,
		"merged beyond the end":              part + 108 + 7,
		"freed beyond the start":             part + 116 + 7,
		"sourced beyond the bytes":           part + 124 + 5,
		"cleaned beyond merged":              part + 132 + 7,
		"tombstones beyond cleaned":          part + 148 + 7,
		"page of another length":             chunk + 4 + 11,
		"page outside of its object":         chunk + 4 + 5,
		"page that begins before itself":     chunk + 4 + 39,
	} {
		b := bytes.Clone(good)
		switch at {
		case -1:
			copy(b[merged+mergedSize:], b[merged:merged+16])
		case -2:
			copy(b[intent:], make([]byte, 16))
		default:
			b[at] ^= 0x41
		}
		if _, err := Decode(testJournal, b, nil); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestDamagedMergedPagesAreRefused(t *testing.T) {
	_, page, _, _ := goldenTiered(t).Find(keyA, 2, 1)
	good := snapshot(t, "v2-index.hex")[page.Position:][:page.Length]
	row := pageFixedSize + mergedRowSize
	for name, at := range map[string]int{
		"number":       row + mergedSize + 3,
		"seq":          row + mergedSize + 4 + 7,
		"first offset": pageFixedSize + mergedSize + 12 + 7,
		"overlap":      row + mergedSize + 12 + 7,
		"shared":       row + 16,
		"epoch":        row + mergedSize + 64,
	} {
		b := bytes.Clone(good)
		b[at] ^= 0x41
		if name == "shared" {
			binary.BigEndian.PutUint64(b[at:], 1<<64-1)
		}
		p := *page
		p.CRC = checksum(b)
		if _, err := DecodePage(&p, b); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestTieredCheckpointsAreAsTheFormatPageSays goes by the golden checkpoint, and by the
// page that it names.
func TestTieredCheckpointsAreAsTheFormatPageSays(t *testing.T) {
	l := goldenTiered(t)
	b, p := l.Encode(nil, segment.ID{}, nil), l.parts[keyA]
	object := checkpointFixedSizeV4
	intent := object + indexObjectSizeV4 + 2*mergedSize
	unreleased := intent + intentFixedSize + 2*intentItemSize
	garbage := unreleased + unreleasedSize
	seqs := garbage + 2*garbageSize
	part := seqs + garbageSeqsSize
	chunk := part + partFixedSizeV4 + epochStartSize + pagedChunkSize
	page := p.below.chunks[0]
	name := func(n segment.Name, more map[string]any) map[string]any {
		more["object id"], more["topic id"], more["index"], more["base offset"] = n.Object, n.Topic, n.Partition, n.Base
		return more
	}
	at := func(from, size int, fields map[string]any) bytemap.Structure {
		return bytemap.Of(b[from:], size, fields)
	}
	index := l.objects[page.page.object.id]
	bytemap.Read(t, formatPage).Check(t, map[string]bytemap.Structure{
		"Tiered data state": at(0, checkpointFixedSizeV4, map[string]any{"payload version": uint16(4), "journal": uint32(testJournal), "seq": uint64(15),
			"epoch": uint32(1), "index objects": uint32(1), "partitions": uint32(2), "producer pages": uint32(0), "merged objects": uint32(2),
			"judged seq": uint64(5), "judged epoch": uint32(1), "intents": uint32(1), "unreleased objects": uint32(1), "garbage objects": uint32(2),
			"garbage seq ranges": uint32(1), "loose seqs": uint32(0), "unmerged seqs": uint32(0)}),
		"Tiered index object": at(object, indexObjectSizeV4, map[string]any{"object id": page.page.object.id, "payload length": uint32(len(index)), "seq": uint64(10)}),
		"Intent state":        at(intent, intentFixedSize, map[string]any{"job": segment.ID{9, 3}, "objects": uint32(2)}),
		"Intent object": at(intent+intentFixedSize, intentItemSize, name(segment.OwnSegment(testTopic, 0, 5, segment.ID{3, 5}),
			map[string]any{"placed": uint8(1)})),
		"Unreleased object": at(unreleased, unreleasedSize, name(segment.OwnSegment(testTopic, 0, 5, segment.ID{3, 2}), map[string]any{"size": uint32(2 * finalBytes)})),
		"Garbage object": at(garbage+garbageSize, garbageSize, name(segment.OwnSegment(testTopic, 0, 9, segment.ID{3, 7}),
			map[string]any{"class": uint8(1), "ended": uint8(1), "deleted": uint8(1), "since": int64(14_000)})),
		"Garbage seq range": at(seqs, garbageSeqsSize, map[string]any{"first seq": uint64(3), "last seq": uint64(4), "class": uint8(2), "since": int64(14_000)}),
		"Tiered partition state": at(part, partFixedSizeV4, map[string]any{"topic id": testTopic, "index": int32(0), "epoch base": int32(0),
			"start offset": int64(2), "first ref offset": int64(0), "bytes": int64(400), "hash": p.refs.hash, "sealed": uint8(0), "dropped": uint8(0),
			"sealed epoch": int32(0), "leader epochs": uint32(1), "pages": uint32(1), "chunks": uint32(0), "producers": uint32(0),
			"merged": int64(30), "freed": int64(0), "sourced": int64(0), "cleaned": int64(14), "cleaned at": int64(56), "tombstones below": int64(8),
			"merged hash": p.below.hash, "merged chunks": uint32(4)}),
		"Merged chunk": at(chunk+mergedChunkFixedSize+mergedPageRefSize, mergedChunkFixedSize, map[string]any{"extents": uint32(1)}),
		"Merged page reference": at(chunk+mergedChunkFixedSize, mergedPageRefSize, map[string]any{"index object": uint32(0), "position": page.page.position,
			"length": page.page.length, "CRC": page.page.crc, "first offset": int64(0), "last offset": int64(4), "page first offset": int64(0),
			"page last offset": int64(19), "max timestamp": int64(190), "bytes": int64(3 * finalBytes)}),
		"Merged page": bytemap.Of(index[page.page.position:], pageFixedSize, map[string]any{"payload version": uint16(2), "extents": uint16(4),
			"index": int32(0), "topic id": testTopic, "base offset": int64(0)}),
	})
}
