package batch_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// classes are the errors of Validate between which callers decide.
var classes = []error{
	batch.ErrCorruptBatch, batch.ErrInvalidRecord, batch.ErrTooLarge, batch.ErrTimestampType, batch.ErrCodec,
}

// idempotent is a batch as an idempotent producer sends it.
func idempotent() []byte {
	return batchtest.Build(batchtest.Spec{
		Records: batchtest.Values(1000, "a", "b", "c"), ProducerID: 5, Epoch: 1, Sequence: 10,
	})
}

func put16(b []byte, at int, v int16) []byte { binary.BigEndian.PutUint16(b[at:], uint16(v)); return b }
func put32(b []byte, at int, v int32) []byte { binary.BigEndian.PutUint32(b[at:], uint32(v)); return b }
func put64(b []byte, at int, v int64) []byte { binary.BigEndian.PutUint64(b[at:], uint64(v)); return b }

// counted sets record count and last offset delta.
func counted(b []byte, records, lastDelta int32) []byte {
	return put32(put32(b, 57, records), 23, lastDelta)
}

func TestValidateRefusesWhatNoClientMaySend(t *testing.T) {
	fix := batchtest.FixCRC
	tests := []struct {
		name  string
		bytes []byte
		want  error // class
		also  error // closer description
	}{
		{"nothing", nil, batch.ErrInvalidRecord, batch.ErrShort},
		{"half a header", idempotent()[:30], batch.ErrInvalidRecord, batch.ErrShort},
		{"cut by one byte", idempotent()[:len(idempotent())-1], batch.ErrInvalidRecord, batch.ErrShort},
		{"two batches", append(idempotent(), idempotent()...), batch.ErrInvalidRecord, nil},
		{"a byte too many", append(idempotent(), 0), batch.ErrInvalidRecord, nil},
		{"magic 0", append(idempotent()[:16], 0, 0), batch.ErrInvalidRecord, batch.ErrOldMagic},
		{"magic 1", append(idempotent()[:16], 1, 0), batch.ErrInvalidRecord, batch.ErrMagic},
		{"magic 3", append(idempotent()[:16], 3, 0), batch.ErrCorruptBatch, batch.ErrMagic},
		{"length below a header", put32(idempotent(), 8, 48), batch.ErrCorruptBatch, nil},
		{"negative length", put32(idempotent(), 8, -1), batch.ErrCorruptBatch, nil},
		{"length whose size overflows", put32(idempotent(), 8, 1<<31-1), batch.ErrCorruptBatch, nil},
		{"base offset", put64(idempotent(), 0, 1), batch.ErrInvalidRecord, nil},
		{"above the limit", batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, string(make([]byte, 2000)))}), batch.ErrTooLarge, nil},
		{"wrong CRC", put32(idempotent(), 17, 1), batch.ErrCorruptBatch, nil},
		{"flipped record byte", func() []byte { b := idempotent(); b[len(b)-1] ^= 1; return b }(), batch.ErrCorruptBatch, nil},
		{"no records", fix(counted(idempotent(), 0, -1)), batch.ErrInvalidRecord, nil},
		{"negative count", fix(counted(idempotent(), -1, -2)), batch.ErrInvalidRecord, nil},
		{"count below last offset", fix(counted(idempotent(), 2, 2)), batch.ErrInvalidRecord, nil},
		{"count above last offset", fix(counted(idempotent(), 4, 2)), batch.ErrInvalidRecord, nil},
		{"count at the 32-bit edge", fix(counted(idempotent(), -1<<31, 1<<31-1)), batch.ErrInvalidRecord, nil},
		{"control batch", fix(put16(idempotent(), 21, 0x20)), batch.ErrInvalidRecord, batch.ErrControl},
		{"log append time", fix(put16(idempotent(), 21, 0x08)), batch.ErrTimestampType, nil},
		{"codec 5", fix(put16(idempotent(), 21, 5)), batch.ErrCodec, nil},
		{"codec 7", fix(put16(idempotent(), 21, 7)), batch.ErrCodec, nil},
		{"producer id below -1", fix(put64(idempotent(), 43, -2)), batch.ErrInvalidRecord, nil},
		{"producer without epoch", fix(put16(idempotent(), 51, -1)), batch.ErrInvalidRecord, nil},
		{"producer without sequence", fix(put32(idempotent(), 53, -1)), batch.ErrInvalidRecord, nil},
		{"transaction without producer", fix(put16(put64(idempotent(), 43, -1), 21, 0x10)), batch.ErrInvalidRecord, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, err := batch.Validate(test.bytes, 1000)
			if h != (batch.Header{}) {
				t.Errorf("header is %+v together with an error", h)
			}
			for _, class := range classes {
				if errors.Is(err, class) != (class == test.want) {
					t.Errorf("error %v is %v: %v", err, class, errors.Is(err, class))
				}
			}
			if test.also != nil && !errors.Is(err, test.also) {
				t.Errorf("error is %v, want %v", err, test.also)
			}
		})
	}
}

func TestValidateAcceptsWhatClientsSend(t *testing.T) {
	noSequence := batchtest.FixCRC(put32(put64(idempotent(), 43, -1), 53, 0)) // sarama: no id, sequence 0
	tests := map[string][]byte{
		"idempotent":              idempotent(),
		"plain":                   batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "a")}),
		"empty record":            batchtest.Build(batchtest.Spec{Records: []batchtest.Record{{}}}),
		"transactional":           batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "a"), ProducerID: 1, Transactional: true}),
		"producer id 0":           batchtest.FixCRC(put64(idempotent(), 43, 0)),
		"last sequence":           batchtest.FixCRC(put32(idempotent(), 53, 1<<31-1)),
		"sequence without an id":  noSequence,
		"leader epoch of its own": put32(idempotent(), 12, 77),
		"well compressed":         batchtest.Build(batchtest.Spec{Records: make([]batchtest.Record, 1000), Codec: batch.Gzip}),
		"unused attribute bits":   batchtest.FixCRC(put16(idempotent(), 21, 0x40)),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			h, err := batch.Validate(b, len(b))
			if err != nil {
				t.Fatal(err)
			}
			if parsed, err := batch.Parse(b); err != nil || parsed != h {
				t.Errorf("Validate gives %+v, Parse %+v and %v", h, parsed, err)
			}
			if _, err := batch.Validate(b, len(b)-1); !errors.Is(err, batch.ErrTooLarge) {
				t.Errorf("a limit one byte lower gives %v, want ErrTooLarge", err)
			}
		})
	}
}
