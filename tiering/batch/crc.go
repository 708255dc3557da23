package batch

import (
	"encoding/binary"
	"hash/crc32"
)

// Large is the size in bytes from which on it costs less to combine the CRC of a batch
// than to read the batch.
const Large = 16 << 10

// UpdateCRC continues a CRC-32C by a whole batch, which Parse has accepted. It reads next
// to nothing of a large batch, and combines the batch's own CRC instead, which must have
// been checked. If the batch has changed since then, the result is the CRC of the bytes
// that were checked.
func UpdateCRC(before uint32, b []byte) uint32 {
	if len(b) < Large {
		return crc32.Update(before, castagnoli, b)
	}
	own := binary.BigEndian.Uint32(b[posCRC:])
	return AppendCRC(crc32.Update(before, castagnoli, b[:CRCStart]), own, len(b)-CRCStart)
}

// AppendCRC returns the CRC-32C of some bytes followed by n more, given the CRC of each
// part, without reading the bytes. (A CRC is the remainder of its bytes as a polynomial
// over two elements; each byte that follows multiplies it by x^8.)
func AppendCRC(before, more uint32, n int) uint32 {
	return timesMod(shiftOf(n), before) ^ more
}

// shiftOf is x^(8n) modulo the polynomial of CRC-32C.
func shiftOf(n int) uint32 {
	shift := uint32(1 << 31) // x^0: the highest bit is the lowest power
	for i := 3; n > 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			shift = timesMod(powers[i], shift)
		}
	}
	return shift
}

// powers are x^(2^i), as many as an int of 8n takes.
var powers = func() (p [66]uint32) {
	p[0] = 1 << 30
	for i := 1; i < len(p); i++ {
		p[i] = timesMod(p[i-1], p[i-1])
	}
	return p
}()

// timesMod multiplies two polynomials modulo that of CRC-32C.
func timesMod(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}
