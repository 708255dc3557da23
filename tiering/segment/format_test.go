package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/wire"
)

// documented is a structure of FORMAT.md: an encoding of it, its fixed part's
// size by the constants, and the value of every field.
type documented struct {
	bytes  []byte
	size   int
	values map[string]any
}

// written is what f writes.
func written(f func(*wire.Writer)) []byte {
	var w wire.Writer
	f(&w)
	return w.B
}

func byteID(b byte) ID { return ID{0: b, 15: b} }

// structures is every structure of FORMAT.md with distinct values in its fields.
func structures(t *testing.T) map[string]documented {
	t.Helper()
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
	return map[string]documented{
		"Prologue": {header, prologueSize, map[string]any{"kind": KindData}},
		"Header": {header, HeaderSize, map[string]any{"kind": KindData, "cluster id": h.Cluster, "object id": h.Object,
			"journal": h.Journal, "epoch": h.Epoch, "seq": h.Seq, "previous seq": h.Prev.Seq, "previous object id": h.Prev.Object,
			"confirmed": h.Confirmed, "node": h.Node, "incarnation": h.Incarnation, "built": h.BuiltMs,
			"write-ahead incarnation": h.WAL.Incarnation, "write-ahead from": h.WAL.From, "write-ahead to": h.WAL.To,
			"CRC": checksum(header[:HeaderSize-4])}},
		"Entries section": {entries, entriesFixedSize, map[string]any{"entries": uint32(1)}},
		"Entry":           {entries[entriesFixedSize:], entryFixedSize, map[string]any{"entry kind": uint16(15), "payload length": uint32(16)}},
		"Footer": {footer, footerFixedSize, map[string]any{"header": header, "entries position": uint64(43),
			"entries length": uint64(44), "entries CRC": uint32(45), "partitions": uint32(1)}},
		"Partition": {partition, partitionFixedSize, map[string]any{"topic id": p.Topic, "index": p.Index,
			"leader epoch": p.LeaderEpoch, "position": p.Position, "length": p.Length, "batches CRC": p.CRC, "records": p.Records,
			"batches": p.Batches, "base offset": p.BaseOffset, "last offset": p.LastOffset, "max timestamp": p.MaxTimestamp,
			"sparse entries": uint32(1), "producers": uint32(2), "open transactions": uint32(3), "aborted transactions": uint32(4)}},
		"Sparse entry": {partition[partitionFixedSize:], sparseSize, map[string]any{"relative offset": uint32(28), "relative position": uint32(29)}},
		"Producer":     {producer, producerFixedSize, map[string]any{"producer id": int64(30), "producer epoch": int16(31), "producer batches": uint8(2)}},
		"Producer batch": {producer[producerFixedSize:], producerBatchSize, map[string]any{"first sequence": int32(32),
			"last sequence": int32(33), "first offset": int64(34), "last offset": int64(35), "timestamp": int64(36)}},
		"Open transaction": {open, openTxnSize, map[string]any{"producer id": int64(37), "producer epoch": int16(38), "first offset": int64(39)}},
		"Aborted transaction": {open[3*openTxnSize:], abortedTxnSize, map[string]any{"producer id": int64(40),
			"first offset": int64(41), "last offset": int64(42)}},
		"Trailer": {trailer, TrailerSize, map[string]any{"footer position": uint64(0), "footer length": uint64(len(footer)),
			"footer CRC": checksum(footer), "trailer CRC": checksum(trailer[:20])}},
		"Cluster": {cluster, clusterSize, map[string]any{"kind": KindCluster, "cluster id": byteID(1), "format": uint16(46),
			"window": uint8(47), "created": int64(48), "CRC": checksum(cluster[:clusterSize-4])}},
		"Floor": {floor, floorFixedSize, map[string]any{"kind": KindFloor, "cluster id": byteID(1), "object id": byteID(2),
			"journal": uint32(3), "number": uint64(49), "floor": uint64(50), "hash": [32]byte{51}, "key length": uint16(3)}},
		"Blob": {blob, BlobHeaderSize, map[string]any{"kind": KindIndex, "cluster id": byteID(1), "object id": byteID(2),
			"journal": uint32(3), "payload CRC": checksum(payload), "seq": uint64(52), "payload length": uint64(len(payload)),
			"CRC": checksum(blob[:BlobHeaderSize-4])}},
	}
}

// row is a line of a table of FORMAT.md.
type row struct {
	offset, size int
	field        string
}

var (
	headingRE = regexp.MustCompile(`^### (.+) \((\d+) bytes\)$`)
	rowRE     = regexp.MustCompile(`^\| (\d+) \| (\d+) \| (.+) \|$`)
)

// readFormat returns the rows and the size in the heading of each structure.
func readFormat(t *testing.T) (text string, rows map[string][]row, sizes map[string]int) {
	t.Helper()
	b, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, sizes = map[string][]row{}, map[string]int{}
	var name string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			name = ""
		}
		if m := headingRE.FindStringSubmatch(line); m != nil {
			name = m[1]
			sizes[name], _ = strconv.Atoi(m[2])
		}
		if m := rowRE.FindStringSubmatch(line); m != nil && name != "" {
			offset, _ := strconv.Atoi(m[1])
			size, _ := strconv.Atoi(m[2])
			rows[name] = append(rows[name], row{offset, size, m[3]})
		}
	}
	return string(b), rows, sizes
}

func TestFormatPageAgreesWithTheCode(t *testing.T) {
	text, rows, sizes := readFormat(t)
	structs := structures(t)
	for name := range sizes {
		if _, ok := structs[name]; !ok {
			t.Errorf("the page describes %q, which this test does not know", name)
		}
	}
	for name, s := range structs {
		if sizes[name] != s.size {
			t.Errorf("%s: the page says %d bytes, the code %d", name, sizes[name], s.size)
		}
		s.values["magic"], s.values["version"] = []byte(magic), uint16(Version)
		at, seen := 0, map[string]bool{}
		for _, r := range rows[name] {
			if r.offset != at {
				t.Errorf("%s: %s at %d, the row before ends at %d", name, r.field, r.offset, at)
			}
			at = r.offset + r.size
			want, ok := encoded(s.values[r.field]), s.values[r.field] != nil
			if r.field == "zero" {
				want, ok = make([]byte, r.size), true
			}
			if got := s.bytes[r.offset:at]; !ok || !bytes.Equal(got, want) {
				t.Errorf("%s: %s at %d is %x, want %x", name, r.field, r.offset, got, want)
			}
			seen[r.field] = true
		}
		if at != s.size {
			t.Errorf("%s: rows end at %d of %d", name, at, s.size)
		}
		for field := range s.values {
			if !seen[field] && field != "magic" && field != "version" {
				t.Errorf("%s: the page does not tell of %s", name, field)
			}
		}
	}
	for _, want := range []string{
		fmt.Sprintf("%d bytes for an object,\n%d entries, %d partitions", MaxObjectSize, MaxEntries, MaxPartitions),
		fmt.Sprintf("of 1 to %d\nbytes", MaxKeySize),
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

// encoded is a value as it stands in an object.
func encoded(v any) []byte {
	if b, ok := v.([]byte); ok || v == nil {
		return b
	}
	b, err := binary.Append(nil, binary.BigEndian, v)
	if err != nil {
		panic(err)
	}
	return b
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
