package batch

import (
	"errors"
	"fmt"
)

// The classes of bad batches. An error of Validate or Check is exactly one of them, so
// that a server can choose its answer with errors.Is.
var (
	// ErrCorruptBatch is damage: sending the same batch again may help.
	ErrCorruptBatch = errors.New("record batch is corrupt")
	// ErrInvalidRecord is a batch no client may send; sending it again is useless.
	ErrInvalidRecord = errors.New("record batch is not valid")
	// ErrTooLarge is a batch above the limit; the client should split it.
	ErrTooLarge = errors.New("record batch is too large")
	// ErrTimestampType is a batch in which the client claims log append time.
	ErrTimestampType = errors.New("record batch carries a log append time, which only the broker may set")
	// ErrTimestamp is a record with a timestamp that the topic does not allow.
	ErrTimestamp = errors.New("record has a timestamp that the topic does not allow")
	// ErrCodec is a codec the protocol does not define.
	ErrCodec = errors.New("record batch has an unknown compression codec")
)

// Closer descriptions of some of them.
var (
	// ErrShort is input that ends before the batch does.
	ErrShort = errors.New("record batch is cut short")
	// ErrMagic is a batch whose magic is not 2.
	ErrMagic = errors.New("record batch does not have magic 2")
	// ErrOldMagic is an ErrMagic and an ErrInvalidRecord: message format 0 or 1,
	// of producers older than Kafka 0.11.
	ErrOldMagic = fmt.Errorf("%w: %w: message formats 0 and 1 are not supported, use a client of Kafka 0.11 or later", ErrInvalidRecord, ErrMagic)
	// ErrControl is an ErrInvalidRecord: a client sent a transaction marker.
	ErrControl = fmt.Errorf("%w: clients may not send control batches", ErrInvalidRecord)
	// ErrKey is an ErrInvalidRecord: a record without a key, where keys are needed.
	ErrKey = fmt.Errorf("%w: record has no key", ErrInvalidRecord)
	// ErrDecompress is records that take more memory to decode than there is, or that
	// expand to more than MaxDecompressed. For Records it is also a record that is longer
	// than the caller allows.
	ErrDecompress = errors.New("records expand beyond the limit")
)

var (
	errUnknownMagic = fmt.Errorf("%w: %w", ErrCorruptBatch, ErrMagic)
	errLength       = fmt.Errorf("%w: batch length out of range", ErrCorruptBatch)
)
