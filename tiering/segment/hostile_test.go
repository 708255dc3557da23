package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/wire"
)

func hostileHeader() Header {
	return Header{Kind: KindData, Cluster: byteID(1), Object: byteID(2), Epoch: 1, Seq: 9,
		Prev: Ref{Seq: 8, Object: byteID(3)}, Node: byteID(4), Incarnation: byteID(5)}
}

// hostileObject is a small object with something of everything.
func hostileObject(t testing.TB) []byte {
	t.Helper()
	one := func(base int64, size int) []byte {
		return batchtest.Build(batchtest.Spec{Records: batchtest.Values(7, strings.Repeat("x", size), "y"), BaseOffset: base})
	}
	parts := []Records{{
		Partition: Partition{Topic: byteID(6), Index: 0,
			Producers:   []Producer{{ID: 1, Batches: []ProducerBatch{{1, 2, 10, 11, 7}}}, {ID: 2}},
			OpenTxns:    []OpenTxn{{ProducerID: 1, FirstOffset: 10}},
			AbortedTxns: []AbortedTxn{{ProducerID: 2, FirstOffset: 3, LastOffset: 12}}},
		Batches: [][]byte{one(10, 1), one(12, 2)},
	}, {
		Partition: Partition{Topic: byteID(6), Index: 1},
		Batches:   [][]byte{one(0, 1)},
	}}
	b, _, err := Build(hostileHeader(), []Entry{{Kind: 1, Payload: []byte("payload")}, {Kind: 2}}, parts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reseal makes every CRC of an object right again, as far as its trailer and
// footer still lead to them, so that damage must be found by other checks. It
// works on a copy.
func reseal(b []byte) []byte {
	b = bytes.Clone(b)
	put := func(at int, crc uint32) { binary.BigEndian.PutUint32(b[at:], crc) }
	if len(b) < minObjectSize {
		return b
	}
	put(posHeaderCRC, checksum(b[:posHeaderCRC]))
	trailer := b[len(b)-TrailerSize:]
	start, length := binary.BigEndian.Uint64(trailer), binary.BigEndian.Uint64(trailer[8:])
	if start < HeaderSize || length < footerFixedSize || start > uint64(len(b)) || length > uint64(len(b))-start {
		return b
	}
	footer := b[start : start+length]
	binary.BigEndian.PutUint32(footer[posHeaderCRC:], checksum(footer[:posHeaderCRC]))
	section := func(position, length uint64) uint32 {
		if position > uint64(len(b)) || length > uint64(len(b))-position {
			return 0
		}
		return checksum(b[position : position+length])
	}
	r := wire.NewReader(footer[HeaderSize:])
	binary.BigEndian.PutUint32(footer[HeaderSize+16:], section(r.U64(), r.U64()))
	r.U32()
	n := r.U32()
	r.U64()
	for range n {
		at := HeaderSize + r.Pos()
		p := readPartition(r)
		if r.Err() != nil {
			break
		}
		binary.BigEndian.PutUint32(footer[at+40:], section(p.Position, p.Length))
	}
	binary.BigEndian.PutUint32(trailer[16:], checksum(footer))
	binary.BigEndian.PutUint32(trailer[20:], checksum(trailer[:20]))
	return b
}

func TestEveryDamagedByteIsFound(t *testing.T) {
	cluster, err := EncodeCluster(Cluster{ID: byteID(1), Format: 1, Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	floor, err := EncodeFloor(Floor{N: 1, Floor: 2, Checkpoint: "key", Hash: [32]byte{1}, Object: byteID(1), Cluster: byteID(2)})
	if err != nil {
		t.Fatal(err)
	}
	journal := hostileObject(t)
	decoders := map[string]struct {
		bytes  []byte
		decode func([]byte) error
	}{
		"journal object": {journal, func(b []byte) error { _, err := Decode(b); return err }},
		"header":         {journal[:HeaderSize], func(b []byte) error { _, err := DecodeHeader(b); return err }},
		"cluster":        {cluster, func(b []byte) error { _, err := DecodeCluster(b); return err }},
		"floor":          {floor, func(b []byte) error { _, err := DecodeFloor(b); return err }},
	}
	for name, d := range decoders {
		t.Run(name, func(t *testing.T) {
			if err := d.decode(d.bytes); err != nil {
				t.Fatalf("intact: %v", err)
			}
			for i := range d.bytes {
				for _, bits := range []byte{0x01, 0x80, 0xff} {
					b := bytes.Clone(d.bytes)
					b[i] ^= bits
					err := d.decode(b)
					// A version that nothing contradicts is only unknown.
					version := (i == 4 || i == 5) && name != "journal object"
					if errors.Is(err, ErrCorrupt) == version || errors.Is(err, ErrUnsupported) != version {
						t.Fatalf("byte %d changed by %#x: error is %v", i, bits, err)
					}
				}
			}
			for n := range d.bytes {
				if err := d.decode(d.bytes[:n:n]); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("cut to %d of %d bytes: error is %v, want ErrCorrupt", n, len(d.bytes), err)
				}
			}
			if err := d.decode(append(bytes.Clone(d.bytes), 0)); name != "header" && !errors.Is(err, ErrCorrupt) {
				t.Errorf("a byte longer: error is %v, want ErrCorrupt", err)
			}
		})
	}
}

// TestDecodeBelievesNoFieldBecauseItsCRCIsRight changes each byte and corrects
// the CRCs. An object that then decodes must encode to the very same bytes: no
// byte is free to differ, and no value comes from elsewhere.
func TestDecodeBelievesNoFieldBecauseItsCRCIsRight(t *testing.T) {
	whole := hostileObject(t)
	accepted := 0
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			b = reseal(b)
			if checkDecode(t, b) {
				accepted++
			}
		}
	}
	if accepted == 0 || accepted == 8*len(whole) {
		t.Errorf("%d of %d changes accepted", accepted, 8*len(whole))
	}
}

// checkDecode checks that encode returns every object that Decode accepts.
func checkDecode(t *testing.T, b []byte) bool {
	t.Helper()
	o, err := Decode(b)
	if err != nil {
		if errors.Is(err, ErrCorrupt) == errors.Is(err, ErrUnsupported) {
			t.Fatalf("error %v is both or neither of corrupt and unsupported", err)
		}
		return false
	}
	var w wire.Writer
	appendHeader(&w, o.Footer.Header)
	appendEntries(&w, o.Entries)
	for i := range o.Footer.Partitions {
		w.Raw(o.Batches(&o.Footer.Partitions[i]))
	}
	appendFooter(&w, o.Footer)
	if !bytes.Equal(w.B, b) {
		t.Fatalf("encodes to %x, was %x", w.B, b)
	}
	if f, need, err := DecodeFooterTail(b, int64(len(b))); err != nil || need != 0 || !reflect.DeepEqual(f, o.Footer) {
		t.Fatalf("DecodeFooterTail gives %+v, %d, %v", f, need, err)
	}
	return true
}

func TestDecodeRefusesWhatOnlyTheWholeShows(t *testing.T) {
	whole := hostileObject(t)
	o, err := Decode(whole)
	if err != nil {
		t.Fatal(err)
	}
	first, err := batch.Parse(o.Batches(&o.Footer.Partitions[0]))
	if err != nil {
		t.Fatal(err)
	}
	secondBatch := uint32(first.Size())
	tests := map[string]struct {
		change func(f *Footer)
		object string // named by the error
	}{
		"other object in the footer":  {func(f *Footer) { f.Header.Object = byteID(99) }, wholeObject},
		"entries end early":           {func(f *Footer) { f.Entries.Length-- }, footerObject},
		"entries overlap the header":  {func(f *Footer) { f.Entries.Position-- }, footerObject},
		"entries begin in the header": {func(f *Footer) { f.Entries.Position--; f.Entries.Length++ }, footerObject},
		"entries without a count": {func(f *Footer) {
			f.Partitions[0].Position -= f.Entries.Length - 3
			f.Partitions[0].Length += f.Entries.Length - 3
			f.Entries.Length = 3
		}, footerObject},
		"gap before a partition":       {func(f *Footer) { f.Partitions[0].Position++ }, footerObject},
		"partitions overlap":           {func(f *Footer) { f.Partitions[0].Length++ }, footerObject},
		"partition left out":           {func(f *Footer) { f.Partitions = f.Partitions[:1] }, footerObject},
		"partition twice":              {func(f *Footer) { f.Partitions[1].Index = 0 }, footerObject},
		"length beyond 63 bits":        {func(f *Footer) { f.Partitions[0].Length = 1<<64 - 1 }, footerObject},
		"more records than there are":  {func(f *Footer) { f.Partitions[1].Records, f.Partitions[1].LastOffset = 3, 2 }, "records of "},
		"fewer batches than there are": {func(f *Footer) { f.Partitions[0].Batches = 1 }, "records of "},
		"other base offset":            {func(f *Footer) { f.Partitions[0].BaseOffset = 9 }, "records of "},
		"other last offset":            {func(f *Footer) { f.Partitions[0].LastOffset = 14 }, "records of "},
		"other max timestamp":          {func(f *Footer) { f.Partitions[0].MaxTimestamp = 8 }, "records of "},
		"other leader epoch":           {func(f *Footer) { f.Partitions[0].LeaderEpoch = 1 }, "records of "},
		"sparse entry inside a batch":  {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{2, 70}} }, "records of "},
		"sparse entry of other offset": {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{3, secondBatch}} }, "records of "},
		"sparse entry for the first":   {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{0, 0}} }, footerObject},
		"sparse entry past the bytes":  {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{3, 1000}} }, footerObject},
		"sparse entry past the end":    {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{4, 70}} }, footerObject},
		"sparse offsets stand still":   {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{2, 70}, {2, 140}} }, footerObject},
		"sparse positions too close":   {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{2, 70}, {3, 130}} }, footerObject},
		"lengths that wrap around": {func(f *Footer) {
			f.Partitions[0].Length += 1 << 63
			f.Partitions[1].Position += 1 << 63
			f.Partitions[1].Length += 1 << 63
		}, footerObject},
		"negative base offset":      {func(f *Footer) { f.Partitions[0].BaseOffset = -1 }, footerObject},
		"offsets backwards":         {func(f *Footer) { f.Partitions[1].LastOffset = -1 }, footerObject},
		"no batches":                {func(f *Footer) { f.Partitions[1].Batches = 0 }, footerObject},
		"more batches than records": {func(f *Footer) { f.Partitions[1].Batches, f.Partitions[1].Records = 2, 1 }, footerObject},
		"more batches than bytes":   {func(f *Footer) { f.Partitions[0].Batches = 3 }, footerObject},
		"negative last sequence": {func(f *Footer) {
			f.Partitions[0].Producers = []Producer{{ID: 1, Batches: []ProducerBatch{{LastSequence: -1}}}}
		}, footerObject},
		"negative epoch of open txn":   {func(f *Footer) { f.Partitions[0].OpenTxns = []OpenTxn{{ProducerID: 1, ProducerEpoch: -1}} }, footerObject},
		"sparse positions that wrap":   {func(f *Footer) { f.Partitions[0].Sparse = []SparseEntry{{1, 1<<32 - 1}, {2, 60}} }, footerObject},
		"too many records for offsets": {func(f *Footer) { f.Partitions[0].Records = 9 }, footerObject},
		"max timestamp below -1":       {func(f *Footer) { f.Partitions[0].MaxTimestamp = -2 }, footerObject},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := *o.Footer
			f.Partitions = append([]Partition{}, f.Partitions...)
			test.change(&f)
			w := wire.Writer{B: bytes.Clone(whole[:len(whole)-TrailerSize-o.Footer.encodedSize()])}
			appendFooter(&w, &f)
			_, err := Decode(w.B)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || !errors.Is(err, ErrCorrupt) || !strings.HasPrefix(corrupt.Object, test.object) {
				t.Errorf("error is %v, want ErrCorrupt in %q", err, test.object)
			}
		})
	}
}

func TestUnknownVersionsAndKindsAreNotDamage(t *testing.T) {
	whole := hostileObject(t)
	version := bytes.Clone(whole)
	version[5], version[len(version)-TrailerSize+posTrailerVersion+1] = 2, 2
	kind := bytes.Clone(whole)
	start := binary.BigEndian.Uint64(kind[len(kind)-TrailerSize:])
	kind[6], kind[start+6] = 200, 200
	for name, b := range map[string][]byte{"version": version, "kind": reseal(kind)} {
		if _, err := Decode(b); !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Decode gives %v, want ErrUnsupported", name, err)
		}
		if _, err := DecodeHeader(b); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: DecodeHeader gives %v, want ErrUnsupported", name, err)
		}
		if _, _, err := DecodeFooterTail(b, int64(len(b))); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: DecodeFooterTail gives %v, want ErrUnsupported", name, err)
		}
	}
	kind[6] = byte(KindFloor)
	if _, err := DecodeHeader(reseal(kind)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a floor among the segments gives %v, want ErrCorrupt", err)
	}
}

func TestSmallObjectsRefuseImplausibleContent(t *testing.T) {
	good := Floor{N: 1, Floor: 2, Checkpoint: "key", Hash: [32]byte{1}, Object: byteID(1), Cluster: byteID(2)}
	for name, spoil := range map[string]func(*Floor){
		"no cluster":    func(f *Floor) { f.Cluster = ID{} },
		"no object":     func(f *Floor) { f.Object = ID{} },
		"number 0":      func(f *Floor) { f.N = 0 },
		"floor 0":       func(f *Floor) { f.Floor = 0 },
		"no checkpoint": func(f *Floor) { f.Checkpoint = "" },
		"long key":      func(f *Floor) { f.Checkpoint = strings.Repeat("k", MaxKeySize+1) },
		"no hash":       func(f *Floor) { f.Hash = [32]byte{} },
	} {
		f := good
		spoil(&f)
		if b, err := EncodeFloor(f); !errors.Is(err, ErrInvalid) || b != nil {
			t.Errorf("floor with %s: error is %v, want ErrInvalid", name, err)
		}
	}
	good.Checkpoint = strings.Repeat("k", MaxKeySize)
	if b, err := EncodeFloor(good); err != nil {
		t.Error(err)
	} else if f, err := DecodeFloor(b); err != nil || f != good {
		t.Errorf("floor with the longest key decodes to %+v, error %v", f, err)
	}
	for _, c := range []Cluster{{Format: 1, Window: 1}, {ID: byteID(1), Window: 1}, {ID: byteID(1), Format: 1}} {
		if b, err := EncodeCluster(c); !errors.Is(err, ErrInvalid) || b != nil {
			t.Errorf("cluster %+v: error is %v, want ErrInvalid", c, err)
		}
	}
}

// resealSmall makes the CRC of a cluster or floor object right again.
func resealSmall(b []byte) []byte {
	b = bytes.Clone(b)
	if n := len(b) - 4; n >= 0 {
		binary.BigEndian.PutUint32(b[n:], checksum(b[:n]))
	}
	return b
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestDecodeHeaderRefusesImplausibleFields(t *testing.T) {
	for name, spoil := range map[string]func(*Header){
		"no cluster":                  func(h *Header) { h.Cluster = ID{} },
		"no object id":                func(h *Header) { h.Object = ID{} },
		"no node":                     func(h *Header) { h.Node = ID{} },
		"no incarnation":              func(h *Header) { h.Incarnation = ID{} },
		"epoch 0":                     func(h *Header) { h.Epoch = 0 },
		"previous at seq":             func(h *Header) { h.Prev.Seq = h.Seq },
		"previous without id":         func(h *Header) { h.Prev.Object = ID{} },
		"confirmed at seq":            func(h *Header) { h.Confirmed = h.Seq },
		"write-ahead range backwards": func(h *Header) { h.WAL = WALRange{byteID(1), 2, 1} },
		"write-ahead without start":   func(h *Header) { h.WAL = WALRange{From: 1, To: 2} },
		"write-ahead of a fence":      func(h *Header) { h.Kind, h.WAL = KindFence, WALRange{byteID(1), 1, 2} },
	} {
		h := hostileHeader()
		spoil(&h)
		b := written(func(w *wire.Writer) { appendHeader(w, h) })
		if got, err := DecodeHeader(b); !errors.Is(err, ErrCorrupt) || got != (Header{}) {
			t.Errorf("%s: header %+v, error %v, want ErrCorrupt", name, got, err)
		}
	}
}

// TestSmallObjectsBelieveNoFieldBecauseTheirCRCIsRight is the same for cluster
// and floor.
func TestSmallObjectsBelieveNoFieldBecauseTheirCRCIsRight(t *testing.T) {
	cluster, err := EncodeCluster(Cluster{ID: byteID(1), Format: 1, Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	floor, err := EncodeFloor(Floor{N: 1, Floor: 2, Checkpoint: "key", Hash: [32]byte{1}, Object: byteID(1), Cluster: byteID(2)})
	if err != nil {
		t.Fatal(err)
	}
	again := map[string]func(b []byte) ([]byte, error){
		"cluster": func(b []byte) ([]byte, error) {
			c, err := DecodeCluster(b)
			if err != nil {
				return nil, err
			}
			return EncodeCluster(c)
		},
		"floor": func(b []byte) ([]byte, error) {
			f, err := DecodeFloor(b)
			if err != nil {
				return nil, err
			}
			return EncodeFloor(f)
		},
	}
	for name, whole := range map[string][]byte{"cluster": cluster, "floor": floor} {
		for i := range len(whole) - 4 {
			for changed := range 256 {
				b := bytes.Clone(whole)
				b[i] = byte(changed)
				b = resealSmall(b)
				got, err := again[name](b)
				if err == nil && !bytes.Equal(got, b) || err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
					t.Fatalf("%s with byte %d set to %#x encodes to %x, error %v", name, i, changed, got, err)
				}
			}
		}
		for n := prologueSize + 2; n < len(whole); n++ { // below, the CRC would lie over the version
			if _, err := again[name](resealSmall(whole[:n])); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s cut to %d bytes, with its CRC right: error is %v, want ErrCorrupt", name, n, err)
			}
		}
	}
}
