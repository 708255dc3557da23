package batch

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func TestCRCsOfPartsGiveThatOfTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	for _, n := range []int{0, 1, 2, 3, 7, 8, 255, 256, 65_535, 65_537, len(b) - 5, len(b)} {
		for _, first := range []int{0, 1, n / 3, n - min(n, 1), n} {
			first = min(first, n)
			before, more := crc32.Checksum(b[:first], castagnoli), crc32.Checksum(b[first:n], castagnoli)
			if got, want := AppendCRC(before, more, n-first), crc32.Checksum(b[:n], castagnoli); got != want {
				t.Errorf("%d and %d bytes: CRC %08x, want %08x", first, n-first, got, want)
			}
		}
	}
}

func TestABatchsOwnCRCGivesThatOfAllItsBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, records := range []int{0, 1, Large - HeaderSize - 1, Large - HeaderSize, 100_000} {
		b := make([]byte, HeaderSize+records)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		b[posMagic] = 2
		binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-posLength-4))
		binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[CRCStart:], castagnoli))
		before := rng.Uint32()
		if got, want := UpdateCRC(before, b), crc32.Update(before, castagnoli, b); got != want {
			t.Errorf("%d bytes: CRC %08x, want %08x", len(b), got, want)
		}
	}
}
