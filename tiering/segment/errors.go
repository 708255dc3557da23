package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of errors of decoding and encoding.
var (
	// ErrUnsupported: the object begins intact, with a version or kind that
	// this program does not know: run a newer one. It is not damage.
	ErrUnsupported = errors.New("unsupported object format")
	// ErrCorrupt: no writer can have stored these bytes. The error in the chain
	// is a *CorruptError.
	ErrCorrupt = errors.New("corrupt object")
	// ErrInvalid: the input must not be in an object; nothing was encoded.
	ErrInvalid = errors.New("invalid content of an object")
)

// CorruptError names the damaged place of an object.
type CorruptError struct {
	Object string // the object or its part, such as "journal object"
	Offset int64  // of the damaged part, from the start of Object
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: %s at byte %d: %s", ErrCorrupt, e.Object, e.Offset, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

func corrupt(object string, offset int, format string, args ...any) error {
	return &CorruptError{Object: object, Offset: int64(offset), Reason: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func unsupported(object, field string, got uint16) error {
	return fmt.Errorf("%w: %s of %s %d, this program reads version %d", ErrUnsupported, object, field, got, Version)
}

// wrongKind is the error for a kind that does not belong where it was read.
func wrongKind(object string, offset int, got Kind) error {
	if got > lastKind {
		return unsupported(object, "kind", uint16(got))
	}
	return corrupt(object, offset, "kind %d does not belong here", got)
}

// prologue checks the bytes that every object of every version begins with: the
// magic and the version. It returns the kind, which the caller must not trust
// before it has checked the CRC. b is the part of the object at offset.
func prologue(object string, offset int, b []byte) (Kind, error) {
	if len(b) < prologueSize {
		return 0, corrupt(object, offset, "%d bytes, too short for any object", len(b))
	}
	if string(b[:4]) != magic {
		return 0, corrupt(object, offset, "magic is %q, not %q", b[:4], magic)
	}
	if v := binary.BigEndian.Uint16(b[4:]); v != Version {
		return 0, unsupported(object, "version", v)
	}
	return Kind(b[6]), nil
}
