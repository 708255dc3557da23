package objstore

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxSize is the largest object in bytes. Every driver checks it before a Create
	// sends anything and before a Get allocates anything. It is far below the 5 GiB
	// that S3 takes in one PUT. A Create is never multipart, because a conditional
	// multipart upload fails only after every part was paid for.
	MaxSize = 256 << 20

	// MaxKey is the longest key in bytes. S3 takes 1,024 including the prefix
	// of the store, file systems 255 between two slashes.
	MaxKey     = 800
	maxSegment = 255
)

// CheckKey returns an error unless key can be an object's name in every store: 1 to
// MaxKey bytes of UTF-8 without control characters. Its slash-separated segments have
// 1 to 255 bytes, and none is "." or "..".
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("invalid object key: empty")
	}
	if len(key) > MaxKey {
		return fmt.Errorf("invalid object key of %d bytes: the longest is %d", len(key), MaxKey)
	}
	if !utf8.ValidString(key) || strings.ContainsFunc(key, isControl) {
		return fmt.Errorf("invalid object key %q: not UTF-8, or control characters", key)
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "":
			return fmt.Errorf("invalid object key %q: empty segment", key)
		case segment == ".", segment == "..":
			return fmt.Errorf("invalid object key %q: segment %q", key, segment)
		case len(segment) > maxSegment:
			return fmt.Errorf("invalid object key %q: a segment is longer than %d bytes", key, maxSegment)
		}
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// CheckCreate returns an error unless body may be created at key. With the build tag
// poison it checks a known CRC, too.
func CheckCreate(key string, body Body) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	size := body.Size()
	switch {
	case body.Source != nil && (!body.CRCKnown || body.Bytes != nil || size < 0):
		return fmt.Errorf("object %q: a source needs its length and CRC, and stands in place of bytes", key)
	case size > MaxSize:
		return fmt.Errorf("object %q of %d bytes: the largest is %d", key, size, MaxSize)
	}
	if checkSums {
		if err := body.CheckSum(); err != nil {
			return fmt.Errorf("object %q: %w", key, err)
		}
	}
	return nil
}

// CheckSize returns an error if an object or a range is too large for memory. The size
// in bytes is that of the store's answer, or of the caller's request.
func CheckSize(key string, size int64) error {
	if size < 0 || size > MaxSize {
		return fmt.Errorf("object %q: %d bytes to read, the most is %d: %w", key, size, MaxSize, ErrRange)
	}
	return nil
}

// CheckRange returns an error unless a caller may ask for length bytes from offset. The
// length is at least 1, so that every range asks the store for something.
func CheckRange(key string, offset, length int64) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if offset < 0 || length < 1 || offset > offset+length {
		return fmt.Errorf("object %q: %d bytes from offset %d: %w", key, length, offset, ErrRange)
	}
	return CheckSize(key, length)
}
