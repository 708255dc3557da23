package segment

import (
	"fmt"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/wire"
)

// written returns the bytes that f writes.
func written(f func(*wire.Writer)) []byte {
	var w wire.Writer
	f(&w)
	return w.B
}

func byteID(b byte) ID { return ID{0: b, 15: b} }

// structures is every structure of FORMAT.md that this package owns, with distinct values in its fields.
func structures(t *testing.T) map[string]bytemap.Structure {
	t.Helper()
	of := bytemap.Of
	h := Header{Kind: KindData, Cluster: byteID(1), Object: byteID(2), Journal: 3, Epoch: 4, Seq: 5,
		Prev: Ref{Seq: 6, Object: byteID(7)}, Confirmed: 8, Node: byteID(9), Incarnation: byteID(10), BuiltMs: 11,
		WAL: WALRange{Incarnation: byteID(12), From: 13, To: 14}}
	header := written(func(w *wire.Writer) { appendHeader(w, h) })
	entries := written(func(w *wire.Writer) { appendEntries(w, []Entry{{Kind: 15, Payload: make([]byte, 16)}}) })
	p := Partition{Topic: byteID(17), Index: 18, LeaderEpoch: 19, Position: 20, Length: 21, CRC: 22, Records: 23, Batches: 24,
		BaseOffset: 25, LastOffset: 26, MaxTimestamp: 27, Sparse: []SparseEntry{{28, 29}},
		Producers: []Producer{{30, 31, []ProducerBatch{{32, 33, 34, 35, 36}, {}}}, {}},
		OpenTxns:  []OpenTxn{{37, 38, 39}, {}, {}}, AbortedTxns: []AbortedTxn{{40, 41, 42}, {}, {}, {}}}
	f := Footer{Header: h, Entries: Section{43, 44, 45}, Partitions: []Partition{p}}
	footer := written(func(w *wire.Writer) { appendFooter(w, &f) })
	footer, trailer := footer[:len(footer)-TrailerSize], footer[len(footer)-TrailerSize:]
	partition := footer[footerFixedSize:]
	producer := partition[partitionFixedSize+sparseSize:]
	open := producer[2*producerFixedSize+2*producerBatchSize:]
	cluster, err := EncodeCluster(Cluster{ID: byteID(1), Format: 46, Window: 47, CreatedMs: 48})
	if err != nil {
		t.Fatal(err)
	}
	floor, err := EncodeFloor(Floor{Journal: 3, N: 49, Floor: 50, Checkpoint: "key", Hash: [32]byte{51}, Object: byteID(2), Cluster: byteID(1)})
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte("payload")
	blob, err := EncodeBlob(Blob{Kind: KindIndex, Cluster: byteID(1), Object: byteID(2), Journal: 3, Seq: 52, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]bytemap.Structure{
		"Prologue": of(header, prologueSize, map[string]any{"kind": KindData}),
		"Header": of(header, HeaderSize, map[string]any{"kind": KindData, "cluster id": h.Cluster, "object id": h.Object,
			"journal": h.Journal, "epoch": h.Epoch, "seq": h.Seq, "previous seq": h.Prev.Seq, "previous object id": h.Prev.Object,
			"confirmed": h.Confirmed, "node": h.Node, "incarnation": h.Incarnation, "built": h.BuiltMs,
			"write-ahead incarnation": h.WAL.Incarnation, "write-ahead from": h.WAL.From, "write-ahead to": h.WAL.To,
			"CRC": checksum(header[:HeaderSize-4])}),
		"Entries section": of(entries, entriesFixedSize, map[string]any{"entries": uint32(1)}),
		"Entry":           of(entries[entriesFixedSize:], entryFixedSize, map[string]any{"entry kind": uint16(15), "payload length": uint32(16)}),
		"Footer": of(footer, footerFixedSize, map[string]any{"header": header, "entries position": uint64(43),
			"entries length": uint64(44), "entries CRC": uint32(45), "partitions": uint32(1)}),
		"Partition": of(partition, partitionFixedSize, map[string]any{"topic id": p.Topic, "index": p.Index,
			"leader epoch": p.LeaderEpoch, "position": p.Position, "length": p.Length, "batches CRC": p.CRC, "records": p.Records,
			"batches": p.Batches, "base offset": p.BaseOffset, "last offset": p.LastOffset, "max timestamp": p.MaxTimestamp,
			"sparse entries": uint32(1), "producers": uint32(2), "open transactions": uint32(3), "aborted transactions": uint32(4)}),
		"Sparse entry": of(partition[partitionFixedSize:], sparseSize, map[string]any{"relative offset": uint32(28), "relative position": uint32(29)}),
		"Producer":     of(producer, producerFixedSize, map[string]any{"producer id": int64(30), "producer epoch": int16(31), "producer batches": uint8(2)}),
		"Producer batch": of(producer[producerFixedSize:], producerBatchSize, map[string]any{"first sequence": int32(32),
			"last sequence": int32(33), "first offset": int64(34), "last offset": int64(35), "timestamp": int64(36)}),
		"Open transaction": of(open, openTxnSize, map[string]any{"producer id": int64(37), "producer epoch": int16(38), "first offset": int64(39)}),
		"Aborted transaction": of(open[3*openTxnSize:], abortedTxnSize, map[string]any{"producer id": int64(40),
			"first offset": int64(41), "last offset": int64(42)}),
		"Trailer": of(trailer, TrailerSize, map[string]any{"footer position": uint64(0), "footer length": uint64(len(footer)),
			"footer CRC": checksum(footer), "trailer CRC": checksum(trailer[:20])}),
		"Cluster": of(cluster, clusterSize, map[string]any{"kind": KindCluster, "cluster id": byteID(1), "format": uint16(46),
			"window": uint8(47), "created": int64(48), "CRC": checksum(cluster[:clusterSize-4])}),
		"Floor": of(floor, floorFixedSize, map[string]any{"kind": KindFloor, "cluster id": byteID(1), "object id": byteID(2),
			"journal": uint32(3), "number": uint64(49), "floor": uint64(50), "hash": [32]byte{51}, "key length": uint16(3)}),
		"Blob": of(blob, BlobHeaderSize, map[string]any{"kind": KindIndex, "cluster id": byteID(1), "object id": byteID(2),
			"journal": uint32(3), "payload CRC": checksum(payload), "seq": uint64(52), "payload length": uint64(len(payload)),
			"CRC": checksum(blob[:BlobHeaderSize-4])}),
	}
}

// elsewhere are the structures of the page that the tests of other packages check.
var elsewhere = map[string]string{
	"Record batch":  "tiering/batch",
	"Hold":          "hold_test.go",
	"Peer key":      "peerkey_test.go",
	"Copy":          "copy_test.go",
	"Merged header": "mergedformat_test.go", "Section": "mergedformat_test.go", "Block": "mergedformat_test.go",
	"Epoch start": "mergedformat_test.go", "Directory": "mergedformat_test.go", "Section place": "mergedformat_test.go",
	"Merged trailer": "mergedformat_test.go", "Topic name": "mergedformat_test.go",
	"Feature level": "metadata", "Node registered": "metadata", "Journal created": "metadata", "Topic named": "metadata",
	"Producer ids": "metadata", "Metadata state": "metadata", "Node": "metadata",
	"Node set": "metadata", "Node fenced": "metadata", "Journal assigned": "metadata", "No-op": "metadata", "Based partition": "metadata",
	"Authentication set": "metadata",
	"Level raised":       "metadata", "Topic deleted": "metadata", "Metadata state before level 2": "metadata",
	"Open": "tiering/partlog", "Seal": "tiering/partlog", "Expire producers": "tiering/partlog", "Delete records": "tiering/partlog",
	"Data state": "tiering/partlog", "Index object": "tiering/partlog", "Partition state": "tiering/partlog",
	"Leader epoch": "tiering/partlog", "Page reference": "tiering/partlog", "Chunk": "tiering/partlog", "Ref": "tiering/partlog",
	"Producer state": "tiering/partlog", "Page": "tiering/partlog", "Producer page reference": "tiering/partlog",
	"Producer page": "tiering/partlog", "Producers of a partition": "tiering/partlog",
	"Intent": "tiering/partlog", "Segment name": "tiering/partlog", "Result": "tiering/partlog", "Merged object": "tiering/partlog",
	"Result of a partition": "tiering/partlog", "Piece": "tiering/partlog", "Abandon": "tiering/partlog", "Release": "tiering/partlog",
	"Freed": "tiering/partlog", "Seq range": "tiering/partlog", "Swept": "tiering/partlog", "Drop": "tiering/partlog",
	"Reopen": "tiering/partlog", "Cleaned": "tiering/partlog",
	"Tiered data state": "tiering/partlog", "Tiered index object": "tiering/partlog", "Intent state": "tiering/partlog",
	"Intent object": "tiering/partlog", "Unreleased object": "tiering/partlog", "Garbage object": "tiering/partlog",
	"Garbage seq range": "tiering/partlog", "Tiered partition state": "tiering/partlog", "Merged chunk": "tiering/partlog",
	"Merged page reference": "tiering/partlog", "Merged page": "tiering/partlog",
	"Floor plan": "tiering/journal", "Checkpoint": "tiering/journal", "Leadership": "tiering/journal",
	"Covered log": "tiering/journal", "Leadership end": "tiering/journal", "Plan": "tiering/journal",
	"Snapshots": "metadata/coordinator/shard", "Snapshot": "metadata/coordinator/shard", "Group state": "metadata/coordinator/group",
}

func TestFormatPageAgreesWithTheCode(t *testing.T) {
	page, structs := bytemap.Read(t, "FORMAT.md"), structures(t)
	text := strings.Join(strings.Fields(page.Text), " ")
	for _, name := range page.Names() {
		if _, ok := structs[name]; !ok && elsewhere[name] == "" {
			t.Errorf("the page describes %q, which no test checks", name)
		}
	}
	for name, s := range structs {
		switch name {
		case "Prologue", "Header", "Trailer", "Cluster", "Floor", "Blob":
			s.Fields["magic"], s.Fields["version"] = []byte(magic), uint16(Version)
		}
	}
	page.Check(t, structs)
	for _, want := range []string{
		fmt.Sprintf("%d bytes for an object, %d entries, %d partitions", MaxObjectSize, MaxEntries, MaxPartitions),
		fmt.Sprintf("of 1 to %d bytes", MaxKeySize),
		fmt.Sprintf("%d bytes or more lie between", sparseInterval),
		fmt.Sprintf("| header | %d |", HeaderSize), fmt.Sprintf("| entries section | %d or more |", entriesFixedSize),
		fmt.Sprintf("| footer | %d or more |", footerFixedSize), fmt.Sprintf("| trailer | %d |", TrailerSize),
		fmt.Sprintf("| %d | data: a journal segment | `journals/<journal>/<seq, 20 digits>` |", KindData),
		fmt.Sprintf("| %d | fence |", KindFence), fmt.Sprintf("| %d | filler |", KindFiller),
		fmt.Sprintf("| %d | floor | `journals/<journal>/floors/<number, 20 digits>` |", KindFloor),
		fmt.Sprintf("| %d | cluster | `%s` |", KindCluster, ClusterKey),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestKeysSortAsSeqsDo(t *testing.T) {
	tests := []struct{ got, want string }{
		{JournalKey(0, 1), "journals/0/00000000000000000001"},
		{JournalKey(4294967295, 18446744073709551615), "journals/4294967295/18446744073709551615"},
		{FloorKey(7, 12), "journals/7/floors/00000000000000000012"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("key is %s, want %s", test.got, test.want)
		}
	}
}

func TestFloorKeysAndIDsParseBack(t *testing.T) {
	if n, ok := ParseFloorKey(7, FloorKey(7, 12)); !ok || n != 12 {
		t.Errorf("floor is %d, %v, want 12", n, ok)
	}
	for _, key := range []string{"", FloorKey(8, 12), FloorKey(7, 12) + "0", FloorPrefix(7) + "12", FloorPrefix(7), JournalKey(7, 12)} {
		if n, ok := ParseFloorKey(7, key); ok {
			t.Errorf("%q is taken for floor %d", key, n)
		}
	}
	id := NewID()
	if got, err := ParseID(id.String()); err != nil || got != id || id.IsZero() {
		t.Errorf("%s parses as %s, error %v", id, got, err)
	}
	if got := byteID(1).Base64(); got != "AQAAAAAAAAAAAAAAAAAAAQ" {
		t.Errorf("id as Kafka writes it is %s", got)
	}
	for _, s := range []string{"", id.String()[1:], id.String() + "00", "g" + id.String()[1:]} {
		if got, err := ParseID(s); err == nil {
			t.Errorf("%q parses as %s", s, got)
		}
	}
}
