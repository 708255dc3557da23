package segment

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/wire"
)

func hostileMergedHeader() MergedHeader {
	return MergedHeader{Name: SharedSegment(3, byteID(2)), Journal: 3, Cluster: byteID(1), Job: byteID(4),
		Node: byteID(5), Incarnation: byteID(6), BuiltMs: 7}
}

// hostileMerged is a small merged segment with something of everything.
func hostileMerged(t testing.TB) []byte {
	t.Helper()
	one := func(base int64, epoch int32, size int) []byte {
		return batchtest.Build(batchtest.Spec{Records: batchtest.Values(7, strings.Repeat("x", size), "y"), BaseOffset: base, LeaderEpoch: epoch})
	}
	var b bytes.Buffer
	m, err := NewMergedWriter(&b, hostileMergedHeader())
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(m.Begin(MergedPart{Topic: byteID(6), Index: 0, TopicName: "events", From: 9, To: 20, SourceMs: 6,
		AbortedTxns: []AbortedTxn{{ProducerID: 2, FirstOffset: 3, LastOffset: 12}, {ProducerID: 1, FirstOffset: 3, LastOffset: 30}}}))
	check(m.Append(one(10, 1, 1), nil))
	check(m.Append(one(15, 4, 700_000), nil))
	check(m.Append(one(17, 4, 700_000), nil))
	_, err = m.End()
	check(err)
	check(m.Begin(MergedPart{Topic: byteID(6), Index: 1, TopicName: "events", From: 0, To: 2, SourceMs: 5}))
	check(m.Append(one(0, 0, 1), nil))
	_, err = m.End()
	check(err)
	_, err = m.Close()
	check(err)
	return b.Bytes()
}

// COMPATIBILITY: see snapshot_test.go.
func TestMergedSegmentsKeepTheirBytes(t *testing.T) {
	var b bytes.Buffer
	m, err := NewMergedWriter(&b, hostileMergedHeader())
	if err != nil {
		t.Fatal(err)
	}
	spec := batchtest.Spec{Records: batchtest.Values(7, "x", "y"), BaseOffset: 10, LeaderEpoch: 1}
	aborted := []AbortedTxn{{ProducerID: 2, FirstOffset: 3, LastOffset: 12}}
	if err := m.Begin(MergedPart{Topic: byteID(6), TopicName: "events", From: 9, To: 20, SourceMs: 6, AbortedTxns: aborted}); err != nil {
		t.Fatal(err)
	}
	if err := m.Append(batchtest.Build(spec), &batch.Header{MaxTimestamp: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.End(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Close(); err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, "v1-merged.hex", b.Bytes())
}

func TestTopicNamesKeepTheirBytes(t *testing.T) {
	n := TopicName{Cluster: byteID(1), Topic: byteID(2), Name: "events"}
	b, err := EncodeTopicName(n)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, "v1-topicname.hex", b)
	if got, err := DecodeTopicName(b); err != nil || got != n {
		t.Errorf("decoded to %+v and %v", got, err)
	}
}

// checkSnapshot compares bytes with a file of hex digits.
func checkSnapshot(t *testing.T, name string, b []byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("bytes are %x, %s has %x, %v", b, name, want, err)
	}
}

// mergedStructures is every structure of merged segments on FORMAT.md, with distinct
// values in its fields.
func mergedStructures(t *testing.T) map[string]bytemap.Structure {
	t.Helper()
	of := bytemap.Of
	own := MergedHeader{Name: OwnSegment(byteID(1), 2, 3, byteID(4)), Journal: 5, Cluster: byteID(6), Job: byteID(7),
		Node: byteID(8), Incarnation: byteID(9), BuiltMs: 10}
	header := written(func(w *wire.Writer) { appendMergedHeader(w, &own) })
	p := MergedPartition{
		MergedPart: MergedPart{Topic: byteID(1), Index: 2, TopicName: "name", From: 11, To: 12, SourceMs: 13, AbortedTxns: make([]AbortedTxn, 3)},
		Object:     byteID(4), Position: 14, Length: 15, CRC: 16, First: 17, Last: 18, Records: 19, Batches: 20, MaxTimestamp: 21,
		Blocks: []Block{{22, 23, 24, 25, 26, 27}}, Epochs: []batch.EpochStart{{Epoch: 28, Start: 29}, {}},
	}
	section := written(func(w *wire.Writer) { appendSection(w, &p) })
	if len(section) != p.sectionSize() {
		t.Errorf("section has %d bytes, %d were expected", len(section), p.sectionSize())
	}
	lists := section[sectionFixedSize+len(p.TopicName):]
	d := MergedDirectory{Object: byteID(4), Sections: []SectionPlace{{byteID(1), 2, 30, 31}}}
	tail := written(func(w *wire.Writer) { appendMergedTail(w, &d, 32) })
	directory, trailer := tail[:len(tail)-MergedTrailerSize], tail[len(tail)-MergedTrailerSize:]
	name, err := EncodeTopicName(TopicName{Cluster: byteID(6), Topic: byteID(1), Name: "name"})
	if err != nil {
		t.Fatal(err)
	}
	start := map[string]any{"magic": []byte(magic), "version": uint16(Version)}
	with := func(kind Kind, fields map[string]any) map[string]any {
		for field, value := range start {
			fields[field] = value
		}
		if kind != 0 {
			fields["kind"] = kind
		}
		return fields
	}
	return map[string]bytemap.Structure{
		"Merged header": of(header, MergedHeaderSize, with(KindMerged, map[string]any{"cluster id": own.Cluster, "object id": own.Name.Object,
			"job": own.Job, "node": own.Node, "incarnation": own.Incarnation, "journal": uint32(5), "topic id": byteID(1),
			"index": int32(2), "base offset": int64(3), "built": int64(10), "CRC": checksum(header[:MergedHeaderSize-4])})),
		"Section": of(section, sectionFixedSize, map[string]any{"section magic": []byte(sectionMagic), "version": uint16(Version),
			"object id": p.Object, "topic id": p.Topic, "index": p.Index, "position": p.Position, "length": p.Length, "batches CRC": p.CRC,
			"from": p.From, "to": p.To, "first offset": p.First, "last offset": p.Last, "records": p.Records, "max timestamp": p.MaxTimestamp,
			"source built": p.SourceMs, "batches": p.Batches, "blocks": uint32(1), "leader epochs": uint32(2),
			"aborted transactions": uint32(3), "name length": uint16(4)}),
		"Block": of(lists, blockSize, map[string]any{"position": uint32(22), "length": uint32(23), "CRC": uint32(24),
			"first offset": int64(25), "last offset": int64(26), "max timestamp": int64(27)}),
		"Epoch start":   of(lists[blockSize:], epochStartSize, map[string]any{"leader epoch": int32(28), "start offset": int64(29)}),
		"Directory":     of(directory, directoryFixedSize, map[string]any{"object id": d.Object, "partitions": uint32(1)}),
		"Section place": of(directory[directoryFixedSize:], sectionPlaceSize, map[string]any{"topic id": byteID(1), "index": int32(2), "position": uint32(30), "length": uint32(31)}),
		"Merged trailer": of(trailer, MergedTrailerSize, with(0, map[string]any{"directory position": uint64(32), "directory length": uint64(len(directory)),
			"size": uint64(32 + len(tail)), "directory CRC": checksum(directory), "trailer CRC": checksum(trailer[:28])})),
		"Topic name": of(name, topicNameFixedSize, with(KindTopicName, map[string]any{"cluster id": byteID(6), "topic id": byteID(1), "name length": uint16(4)})),
	}
}

func TestFormatPageAgreesOnMergedSegments(t *testing.T) {
	page, structs := bytemap.Read(t, "FORMAT.md"), mergedStructures(t)
	page.Check(t, structs)
	text := strings.Join(strings.Fields(page.Text), " ")
	for name := range structs {
		if elsewhere[name] != "mergedformat_test.go" {
			t.Errorf("%q is not named as a structure that is checked here", name)
		}
	}
	for _, want := range []string{
		fmt.Sprintf("| header | %d | | record batches of the first partition", MergedHeaderSize),
		fmt.Sprintf("| section of the first partition | %d or more |", minSectionSize),
		fmt.Sprintf("| directory | %d or more | | trailer | %d |", directoryFixedSize+sectionPlaceSize, MergedTrailerSize),
		fmt.Sprintf("The object has %d bytes at most", MaxMergedSize), fmt.Sprintf("of 1 to %d bytes", MaxTopicName),
		fmt.Sprintf("when %d bytes would be exceeded", blockBytes), fmt.Sprintf("The section magic is `%s`; the version is %d.", sectionMagic, Version),
		fmt.Sprintf("| %d | merged segment, shared | `%s<journal>/<object id>` |", KindMerged, SharedPrefix),
		fmt.Sprintf("| %d | merged segment, own | `%s<topic id>/<partition>/<base offset, 20 digits>-<object id>` |", KindMerged, TopicsPrefix),
		fmt.Sprintf("| %d | topic name | `%s<topic id>/name` |", KindTopicName, TopicsPrefix),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if size := int(reflect.TypeFor[Name]().Size()); size > 64 {
		t.Errorf("a Name has %d bytes", size)
	}
}
