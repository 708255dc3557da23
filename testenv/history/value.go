package history

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
)

// Value identifies a value sent: the producer (24 bits, from 1) and its number
// in the order in which that producer sent (40 bits, from 0). No value is zero.
type Value uint64

const numberBits = 40

func valueOf(producer int, number uint64) Value { return Value(producer)<<numberBits | Value(number) }

func (v Value) producer() int  { return int(v >> numberBits) }
func (v Value) number() uint64 { return uint64(v & (1<<numberBits - 1)) }

func (v Value) String() string { return fmt.Sprintf("p%d#%d", v.producer(), v.number()) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	idLength  = 16 // hexadecimal
	sumLength = 8  // hexadecimal
	// minSize is the size of the shortest text of a value.
	minSize = idLength + sumLength
)

// Text returns the content of the value's record: size bytes (at least minSize)
// on one line of ASCII. A checksum over all of it at its end shows any bit that
// changed on the way.
func (v Value) Text(size int) []byte {
	text := make([]byte, 0, max(size, minSize))
	text = fmt.Appendf(text, "%0*x", idLength, uint64(v))
	for x := uint64(v) | 1; len(text) < size-sumLength; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		text = append(text, 'a'+byte(x%26))
	}
	return fmt.Appendf(text, "%0*x", sumLength, crc32.Checksum(text, castagnoli))
}

// Key is the key of the value's record.
func (v Value) Key() []byte { return fmt.Appendf(nil, "key-%d", v.number()%97) }

var errNotAValue = errors.New("not a value that was sent")

// parse returns the value that a record holds, or an error if Text and Key have
// not made the record.
func parse(key, text []byte) (Value, error) {
	if len(text) < minSize {
		return 0, fmt.Errorf("%w: %d bytes, %.60q", errNotAValue, len(text), text)
	}
	body := text[:len(text)-sumLength]
	sum, err := strconv.ParseUint(string(text[len(body):]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(body, castagnoli) {
		return 0, fmt.Errorf("%w: wrong checksum in %d bytes, %.60q", errNotAValue, len(text), text)
	}
	id, err := strconv.ParseUint(string(body[:idLength]), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNotAValue, err)
	}
	v := Value(id)
	if key != nil && string(key) != string(v.Key()) {
		return 0, fmt.Errorf("%w: %v has the key %.60q", errNotAValue, v, key)
	}
	return v, nil
}
