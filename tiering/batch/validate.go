package batch

import (
	"errors"
	"fmt"
)

// Validate checks that b is exactly one batch that a client may produce, of at most limit
// bytes in all, and returns its header. Its checks and their order are those of Kafka's log
// (LogValidator, UnifiedLog) as far as they need only the header; Check walks the records.
// Every error has one of the classes above.
func Validate(b []byte, limit int) (Header, error) {
	h, err := parseOne(b)
	if err != nil {
		return Header{}, err
	}
	switch {
	case h.BaseOffset != 0:
		err = invalid("base offset is %d, must be 0", h.BaseOffset)
	case h.Size() > limit:
		err = fmt.Errorf("%w: %d bytes, limit is %d", ErrTooLarge, h.Size(), limit)
	case !CheckCRC(b, h):
		err = fmt.Errorf("%w: CRC mismatch", ErrCorruptBatch)
	default:
		if err = checkCount(h); err == nil {
			err = checkAttributes(h)
		}
		if err == nil {
			err = checkProducer(h)
		}
	}
	if err != nil {
		return Header{}, err
	}
	return h, nil
}

func parseOne(b []byte) (Header, error) {
	w := bytesOf(b)
	h, err := w.Parse(b)
	switch {
	case errors.Is(err, ErrShort):
		return Header{}, fmt.Errorf("%w: %w", ErrInvalidRecord, ErrShort)
	case err != nil:
		return Header{}, err
	}
	if w.Skip(&h); w.Left() != 0 {
		return Header{}, invalid("%d bytes after the batch, must be exactly one batch per partition", w.Left())
	}
	return h, nil
}

func checkCount(h Header) error {
	switch {
	case h.Records <= 0:
		return invalid("record count is %d", h.Records)
	case int64(h.LastOffsetDelta)+1 != int64(h.Records):
		return invalid("record count is %d, last offset delta is %d", h.Records, h.LastOffsetDelta)
	}
	return nil
}

func checkAttributes(h Header) error {
	switch {
	case h.Control():
		return ErrControl
	case h.LogAppendTime():
		return ErrTimestampType
	case !h.Compression().Known():
		return fmt.Errorf("%w: %d", ErrCodec, h.Compression())
	}
	return nil
}

// checkProducer refuses batches that may or may not be idempotent. Kafka accepts ids below
// -1 and transactions without an id, but no client sends them.
func checkProducer(h Header) error {
	switch {
	case h.ProducerID < -1:
		return invalid("producer id is %d", h.ProducerID)
	case h.ProducerID == -1 && h.Transactional():
		return invalid("transactional, but without a producer id")
	case h.ProducerID >= 0 && h.BaseSequence < 0:
		return invalid("producer id is %d, base sequence is %d", h.ProducerID, h.BaseSequence)
	case h.ProducerID >= 0 && h.ProducerEpoch < 0:
		return invalid("producer id is %d, producer epoch is %d", h.ProducerID, h.ProducerEpoch)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalidRecord}, args...)...)
}
