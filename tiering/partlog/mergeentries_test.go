package partlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	testJob   = segment.ID{0xcc, 1, 15: 1}
	sharedOne = segment.SharedSegment(testJournal, segment.ID{0xdd, 1, 15: 1})
	ownOne    = segment.OwnSegment(testTopic, 5, 10, segment.ID{0xee, 1, 15: 1})
	ownTwo    = segment.OwnSegment(testTopic, 5, 20, segment.ID{0xee, 2, 15: 1})
)

// mergedExtent is an extent of a merged segment.
func mergedExtent(n segment.Name, base, last int64) Extent {
	return Extent{
		Object: n, Base: base, Last: last, MaxTimestamp: last * 10,
		Position: 200, Length: 1000, IndexLength: 50, CRC: uint32(base + 7), Records: uint32(last - base),
		Size: 5000, SHA256: [32]byte{n.Object[0], n.Object[1], 31: 9}, BuiltMs: 77, SourceMs: last * 1000,
	}
}

// damagedExtent is the range of a journal object that could not be read.
func damagedExtent(seq uint64, epoch int32, base, last int64) Extent {
	return Extent{
		Object: segment.DataObject(testJournal, seq), Base: base, Last: last, MaxTimestamp: -1,
		Position: 100, Length: 300, Epoch: epoch, CRC: 3, SourceMs: 5,
	}
}

func sampleResult() *Result {
	return &Result{Job: testJob, Last: true, Parts: []ResultPart{
		{Key: Key{testTopic, 5}, From: 10, To: 40, Source: 17,
			Replaced: []Extent{mergedExtent(ownTwo, 20, 29)},
			Extents:  []Extent{mergedExtent(ownOne, 10, 19), damagedExtent(6, 2, 20, 24), mergedExtent(sharedOne, 25, 39)}},
		{Key: Key{testTopic, 6}, From: 0, To: 3, Extents: []Extent{mergedExtent(sharedOne, 0, 2)}},
	}}
}

func sampleRelease() *Release {
	return &Release{Class: ClassUser, Judged: Judged{9, 2}, Freed: []Freed{{Key{testTopic, 5}, 11}},
		Objects: []segment.Name{sharedOne, ownOne}, Seqs: []Seqs{{3, 4}, {6, 6}}}
}

type namedEntry struct {
	name  string
	entry segment.Entry
}

// tieringEntries has one entry of each kind from Intent on.
func tieringEntries() []namedEntry {
	k := Key{testTopic, 5}
	return []namedEntry{
		{"v1-intent.hex", Intent{testJob, []segment.Name{sharedOne, ownOne}}.Encode()},
		{"v1-result.hex", sampleResult().Encode()},
		{"v1-abandon.hex", Abandon{testJob}.Encode()},
		{"v1-release.hex", sampleRelease().Encode()},
		{"v1-swept.hex", (&Swept{Objects: []segment.ID{{1}, {2}}, Seqs: []Seqs{{3, 9}}}).Encode()},
		{"v1-drop.hex", Drop{k}.Encode()},
		{"v1-reopen.hex", Reopen{k}.Encode()},
		{"v1-cleaned.hex", Cleaned{k, 9, 8, 7}.Encode()},
	}
}

// reencodeTiering is reencode for the kinds from Intent on.
func reencodeTiering(kind uint16, payload []byte) (again segment.Entry, ok bool) {
	var err error
	switch kind {
	case EntryIntent:
		var e Intent
		e, err = DecodeIntent(testJournal, payload)
		again = e.Encode()
	case EntryResult:
		var e *Result
		if e, err = DecodeResult(testJournal, payload); err == nil {
			again = e.Encode()
		}
	case EntryAbandon:
		var e Abandon
		e, err = DecodeAbandon(payload)
		again = e.Encode()
	case EntryRelease:
		var e *Release
		if e, err = DecodeRelease(testJournal, payload); err == nil {
			again = e.Encode()
		}
	case EntrySwept:
		var e *Swept
		if e, err = DecodeSwept(payload); err == nil {
			again = e.Encode()
		}
	case EntryDrop:
		var e Drop
		e, err = DecodeDrop(payload)
		again = e.Encode()
	case EntryReopen:
		var e Reopen
		e, err = DecodeReopen(payload)
		again = e.Encode()
	case EntryCleaned:
		var e Cleaned
		e, err = DecodeCleaned(payload)
		again = e.Encode()
	default:
		return again, false
	}
	return again, err == nil
}

// The bytes of these entries are part of the bucket's format, too.
func TestTieringEntryBytesStayTheSame(t *testing.T) {
	for _, e := range tieringEntries() {
		if want := snapshot(t, e.name); !bytes.Equal(e.entry.Payload, want) {
			t.Errorf("%s: payload %x, want %x", e.name, e.entry.Payload, want)
		}
		if again, ok := reencode(e.entry.Kind, e.entry.Payload); !ok || !bytes.Equal(again.Payload, e.entry.Payload) {
			t.Errorf("%s: reads back as %x, %t", e.name, again.Payload, ok)
		}
	}
}

func TestBadTieringEntriesAreRefused(t *testing.T) {
	for _, e := range tieringEntries() {
		for n := range e.entry.Payload {
			if _, ok := reencode(e.entry.Kind, e.entry.Payload[:n]); ok {
				t.Errorf("%s: %d bytes of it are taken", e.name, n)
			}
		}
		if _, ok := reencode(e.entry.Kind, append(bytes.Clone(e.entry.Payload), 0)); ok {
			t.Errorf("%s: one more byte is taken", e.name)
		}
	}
	k := Key{testTopic, 5}
	release := func(change func(*Release)) segment.Entry {
		r := sampleRelease()
		change(r)
		return r.Encode()
	}
	for name, e := range map[string]segment.Entry{
		"intent without objects":           Intent{Job: testJob}.Encode(),
		"intent without a job":             Intent{Objects: []segment.Name{ownOne}}.Encode(),
		"intent with an object twice":      Intent{testJob, []segment.Name{ownOne, ownOne}}.Encode(),
		"intent with a shared base":        Intent{testJob, []segment.Name{{Object: segment.ID{1}, Base: 3}}}.Encode(),
		"intent with a negative base":      Intent{testJob, []segment.Name{segment.OwnSegment(testTopic, 5, -1, segment.ID{1})}}.Encode(),
		"abandon without a job":            Abandon{}.Encode(),
		"release of no class":              release(func(r *Release) { r.Class = 0 }),
		"release of an unknown class":      release(func(r *Release) { r.Class = 3 }),
		"release with half a mark":         release(func(r *Release) { r.Judged.Epoch = 0 }),
		"release with freed out of order":  release(func(r *Release) { r.Freed = append(r.Freed, r.Freed[0]) }),
		"release of offset 0":              release(func(r *Release) { r.Freed[0].Offset = 0 }),
		"release of an object twice":       release(func(r *Release) { r.Objects[1] = r.Objects[0] }),
		"release of seqs that overlap":     release(func(r *Release) { r.Seqs[1].First = 4 }),
		"release of seqs that go back":     release(func(r *Release) { r.Seqs[1].Last = 5 }),
		"release of seq 0":                 release(func(r *Release) { r.Seqs[0].First = 0 }),
		"release of too much":              release(func(r *Release) { r.Objects = make([]segment.Name, MaxGarbage+1) }),
		"swept objects out of order":       (&Swept{Objects: []segment.ID{{2}, {1}}}).Encode(),
		"swept object twice":               (&Swept{Objects: []segment.ID{{1}, {1}}}).Encode(),
		"seqs swept again":                 (&Swept{Second: true, Seqs: []Seqs{{1, 2}}}).Encode(),
		"drop of no partition":             Drop{}.Encode(),
		"reopen of no partition":           Reopen{}.Encode(),
		"cleaned below tombstones":         Cleaned{k, 6, 8, 7}.Encode(),
		"cleaned before 1970":              Cleaned{k, 9, -8, 7}.Encode(),
		"cleaned with negative tombstones": Cleaned{k, 9, 8, -7}.Encode(),
	} {
		if _, ok := reencode(e.Kind, e.Payload); ok {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestBadResultsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Result){
		"no job":                    func(r *Result) { r.Job = segment.ID{} },
		"no partitions":             func(r *Result) { r.Parts = nil },
		"partitions out of order":   func(r *Result) { r.Parts[1].Key = r.Parts[0].Key },
		"no topic":                  func(r *Result) { r.Parts[0].Topic = segment.ID{} },
		"no extents":                func(r *Result) { r.Parts[0].Extents = nil },
		"from a negative offset":    func(r *Result) { r.Parts[1].From, r.Parts[1].Extents[0].Base = -1, -1 },
		"nothing":                   func(r *Result) { r.Parts[1].To = 0 },
		"negative source":           func(r *Result) { r.Parts[0].Source = -1 },
		"a gap at the start":        func(r *Result) { r.Parts[0].Extents[0].Base++ },
		"a gap":                     func(r *Result) { r.Parts[0].Extents[1].Base++ },
		"an overlap":                func(r *Result) { r.Parts[0].Extents[1].Base-- },
		"an end too early":          func(r *Result) { r.Parts[0].To++ },
		"an end too late":           func(r *Result) { r.Parts[0].To-- },
		"an own segment twice":      func(r *Result) { r.Parts[0].Extents[2] = mergedExtent(ownOne, 25, 39) },
		"no bytes":                  func(r *Result) { r.Parts[0].Extents[0].Length = 0 },
		"no index":                  func(r *Result) { r.Parts[0].Extents[0].IndexLength = 0 },
		"an index beyond the end":   func(r *Result) { r.Parts[0].Extents[0].IndexLength = 3801 },
		"an end beyond 32 bits":     func(r *Result) { r.Parts[0].Extents[0].Position = math.MaxUint32 },
		"a leader epoch":            func(r *Result) { r.Parts[0].Extents[0].Epoch = 1 },
		"a base above the extent":   func(r *Result) { r.Parts[0].Extents[0].Object.Base = 11 },
		"no object id":              func(r *Result) { r.Parts[0].Extents[0].Object.Object = segment.ID{} },
		"a timestamp below -1":      func(r *Result) { r.Parts[0].Extents[0].MaxTimestamp = -2 },
		"damage at seq 0":           func(r *Result) { r.Parts[0].Extents[1].Object.Seq = 0 },
		"damage without an epoch":   func(r *Result) { r.Parts[0].Extents[1].Epoch = 0 },
		"damage with an index":      func(r *Result) { r.Parts[0].Extents[1].IndexLength = 1 },
		"replaces a shared segment": func(r *Result) { r.Parts[0].Replaced[0].Object = sharedOne },
		"replaces before its range": func(r *Result) { r.Parts[0].Replaced[0] = mergedExtent(ownTwo, 9, 29) },
		"replaces behind its range": func(r *Result) { r.Parts[0].Replaced[0] = mergedExtent(ownTwo, 20, 40) },
	} {
		r := sampleResult()
		change(r)
		if _, err := DecodeResult(testJournal, r.Encode().Payload); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	first := 26 + 2*mergedSize + resultPartSize + mergedSize + pieceSize // of the extents
	for name, change := range map[string]func([]byte){
		"flag":                                func(b []byte) { b[1] = 2 },
		"unknown object":                      func(b []byte) { b[first+3] = 2 },
		"objects in another order":            func(b []byte) { b[first+3] = 1 },
		"merged segment with a seq":           func(b []byte) { b[first+11] = 1 },
		"replaced segment with a seq":         func(b []byte) { b[first-pieceSize+11] = 1 },
		"replaced segment with a number":      func(b []byte) { b[first-pieceSize+3] = 1 },
		"object that no extent names":         func(b []byte) { binary.BigEndian.PutUint32(b[first:], ofJournal) },
		"base of a shared segment is not set": func(b []byte) { b[26+mergedSize+23] = 0xfe },
	} {
		b := sampleResult().Encode().Payload
		change(b)
		if _, err := DecodeResult(testJournal, b); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTieringEntriesAreAsTheFormatPageSays(t *testing.T) {
	result, release := sampleResult().Encode().Payload, sampleRelease().Encode().Payload
	own, piece := mergedExtent(ownTwo, 20, 29), sampleResult().Parts[0].Extents[1]
	object := 26
	part := object + 2*mergedSize
	replaced := part + resultPartSize
	extents := replaced + mergedSize + pieceSize
	at := func(b []byte, from, size int, fields map[string]any) bytemap.Structure {
		return bytemap.Of(b[from:], size, fields)
	}
	version := uint8(entryVersion)
	bytemap.Read(t, formatPage).Check(t, map[string]bytemap.Structure{
		"Intent": at(Intent{testJob, []segment.Name{ownOne}}.Encode().Payload, 0, 21, map[string]any{
			"payload version": version, "job": testJob, "objects": uint32(1)}),
		"Segment name": at(Intent{testJob, []segment.Name{ownOne}}.Encode().Payload, 21, intentObjectSize, map[string]any{
			"object id": ownOne.Object, "topic id": testTopic, "index": int32(5), "base offset": int64(10)}),
		"Result": at(result, 0, object, map[string]any{
			"payload version": version, "last": uint8(1), "job": testJob, "objects": uint32(2), "partitions": uint32(2)}),
		"Merged object": at(result, replaced, mergedSize, map[string]any{
			"object id": ownTwo.Object, "base offset": int64(20), "SHA-256": own.SHA256, "built": int64(77), "size": uint32(5000)}),
		"Result of a partition": at(result, part, resultPartSize, map[string]any{
			"topic id": testTopic, "index": int32(5), "from": int64(10), "to": int64(40), "source bytes": int64(17),
			"replaced": uint32(1), "extents": uint32(3)}),
		"Piece": at(result, extents+pieceSize, pieceSize, map[string]any{
			"object": uint32(ofJournal), "seq": uint64(6), "first offset": int64(20), "last offset": int64(24), "max timestamp": int64(-1),
			"source built": int64(5), "position": uint32(100), "length": uint32(300), "index length": uint32(0), "CRC": uint32(3),
			"records": piece.Records, "leader epoch": int32(2)}),
		"Abandon": at(Abandon{testJob}.Encode().Payload, 0, 17, map[string]any{"payload version": version, "job": testJob}),
		"Release": at(release, 0, releaseFixedSize, map[string]any{
			"payload version": version, "class": uint8(2), "judged seq": uint64(9), "judged epoch": uint32(2),
			"freed": uint32(1), "objects": uint32(2), "seq ranges": uint32(2)}),
		"Freed": at(release, releaseFixedSize, freedSize, map[string]any{"topic id": testTopic, "index": int32(5), "offset": int64(11)}),
		"Seq range": at(release, releaseFixedSize+freedSize+2*intentObjectSize, seqsSize, map[string]any{
			"first seq": uint64(3), "last seq": uint64(4)}),
		"Swept": at((&Swept{Second: true, Objects: []segment.ID{{1}}}).Encode().Payload, 0, 10, map[string]any{
			"payload version": version, "deletion": uint8(2), "objects": uint32(1), "seq ranges": uint32(0)}),
		"Drop":   at(Drop{Key{testTopic, 5}}.Encode().Payload, 0, 21, map[string]any{"payload version": version, "topic id": testTopic, "index": int32(5)}),
		"Reopen": at(Reopen{Key{testTopic, 5}}.Encode().Payload, 0, 21, map[string]any{"payload version": version, "topic id": testTopic, "index": int32(5)}),
		"Cleaned": at(Cleaned{Key{testTopic, 5}, 9, 8, 7}.Encode().Payload, 0, 45, map[string]any{
			"payload version": version, "topic id": testTopic, "index": int32(5), "cleaned": int64(9), "time": int64(8), "tombstones below": int64(7)}),
	})
}
