package batch_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestCheckRefusesWhatOnlyOurDecodersRead: Kafka's clients stop at such a batch. Stored
// batches are read all the same.
func TestCheckRefusesWhatOnlyOurDecodersRead(t *testing.T) {
	raw := plainRecords()
	linked := lz4Linked(t, raw)
	s2Block := append(binary.AppendUvarint(nil, uint64(len(raw))), byte((len(raw)-1)<<2))
	s2Block = append(s2Block, raw...)
	repeat := s2.EncodeBest(nil, batchtest.Build(batchtest.Spec{Records: manyRecords()})[batch.HeaderSize:])
	if _, err := snappy.DecodeStrict(nil, repeat); err == nil {
		t.Fatal("the block of S2 is one of snappy, too")
	}
	many := batchtest.Build(batchtest.Spec{Records: manyRecords()})[:batch.HeaderSize]
	packed := func(codec batch.Codec, payload []byte) []byte {
		b := append(bytes.Clone(many), payload...)
		return batchtest.FixCRC(put16(put32(b, 8, int32(len(b)-12)), 21, int16(codec)))
	}
	xerial := func(version uint32, block []byte) []byte {
		b := append([]byte("\x82SNAPPY\x00"), 0, 0, 0, byte(version), 0, 0, 0, 1)
		return append(binary.BigEndian.AppendUint32(b, uint32(len(block))), block...)
	}
	for name, test := range map[string]struct {
		b    []byte
		says string
	}{
		"linked lz4":       {with(batch.LZ4, linked), "depend on each other"},
		"s2":               {packed(batch.Snappy, repeat), "S2"},
		"s2 in xerial":     {packed(batch.Snappy, xerial(1, repeat)), "S2"},
		"xerial version 0": {with(batch.Snappy, xerial(0, s2Block)), "version 0"},
	} {
		wantRefusal(t, name, test.b, 0, test.says)
		n := 0
		if err := batch.Scan(t.Context(), nil, test.b, func(batch.Meta) bool { n++; return true }); err != nil || n < 3 {
			t.Errorf("%s, stored: %d records, %v", name, n, err)
		}
	}
	wantRefusal(t, "snappy", with(batch.Snappy, s2Block), -1, "")
	wantRefusal(t, "xerial", with(batch.Snappy, xerial(1, s2Block)), -1, "")
}

func manyRecords() []batchtest.Record {
	return jsonRecords(200, 300, 1)
}

// lz4Linked is a frame of one block that says its blocks depend on each other.
func lz4Linked(t *testing.T, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	w.Write(raw)
	w.Close()
	b := out.Bytes()
	b[4] &^= 1 << 5
	for sum := range 256 { // the checksum of the header, whatever it is
		if b[6] = byte(sum); readsLZ4(b) {
			return b
		}
	}
	t.Fatal("no checksum fits")
	return nil
}

func readsLZ4(b []byte) bool {
	_, err := new(bytes.Buffer).ReadFrom(lz4.NewReader(bytes.NewReader(b)))
	return err == nil
}

// TestSnappyIsNeverTakenForS2 packs as producers do.
func TestSnappyIsNeverTakenForS2(t *testing.T) {
	seed := seeded.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		spec := codecs[[]string{"snappy", "xerial"}[rng.IntN(2)]]
		spec.Records = jsonRecords(1+rng.IntN(300), 1+rng.IntN(600), rng.Uint64())
		spec.Records = append(spec.Records, batchtest.Record{Value: make([]byte, rng.IntN(100_000))})
		b := batchtest.Build(spec)
		if _, err := check(t, b, anything); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
