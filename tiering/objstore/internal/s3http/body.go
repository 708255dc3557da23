package s3http

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
)

// Checksum returns the value of x-amz-checksum-crc32c for a CRC-32C: big-endian, in
// base64.
func Checksum(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// checkPut returns an error unless an answer confirms the PUT of an object with the
// checksum sum. Every S3 store names an ETag; a proxy's page has none.
func checkPut(etag, confirmed, sum string) error {
	if etag == "" {
		return errors.New("store confirmed no object: no ETag")
	}
	if confirmed != "" && confirmed != sum {
		return fmt.Errorf("store confirmed CRC-32C %s, sent %s", confirmed, sum)
	}
	return nil
}

// rangeHeader asks for length bytes from offset, as a Range header.
func rangeHeader(offset, length int64) string {
	return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
}

// tailHeader asks for the last n bytes, as a Range header.
func tailHeader(n int64) string { return fmt.Sprintf("bytes=-%d", n) }

// part is which bytes of an object an answer holds.
type part struct {
	First, Last int64 // offsets of the first and the last byte; Last is -1 in an empty object
	Size        int64 // of the object
}

// parseContentRange reads the header of that name, RFC 9110 section 14.4:
// "bytes 0-9/100", and "bytes 0--1/0", by which MinIO answers for an empty
// object. An answer without the header is not one to a request for a range.
func parseContentRange(value string) (part, error) {
	if value == "" {
		return part{}, errors.New("store ignored the Range header")
	}
	var p part
	span, size, ok1 := strings.Cut(strings.TrimPrefix(value, "bytes "), "/")
	first, last, ok2 := strings.Cut(span, "-")
	var errs [3]error
	p.First, errs[0] = strconv.ParseInt(first, 10, 64)
	p.Last, errs[1] = strconv.ParseInt(last, 10, 64)
	p.Size, errs[2] = strconv.ParseInt(size, 10, 64)
	inside := p.First >= 0 && p.First <= p.Last && p.Last < p.Size
	if empty := p == (part{0, -1, 0}); !ok1 || !ok2 || errors.Join(errs[:]...) != nil || !inside && !empty {
		return part{}, fmt.Errorf("store sent Content-Range %q", value)
	}
	return p, nil
}

// length is that of the bytes in the answer.
func (p part) length() int64 { return p.Last - p.First + 1 }

// checkRange returns an error unless a part is the length bytes from offset.
func (p part) checkRange(offset, length int64) error {
	if p.First != offset || p.length() != length {
		return fmt.Errorf("asked for %d bytes from offset %d, got %d from %d: %w",
			length, offset, p.length(), p.First, objstore.ErrRange)
	}
	return nil
}

// checkTail returns an error unless a part is the last want bytes of the object.
func (p part) checkTail(want int64) error {
	if n := p.length(); p.First+n != p.Size || n != min(want, p.Size) {
		return fmt.Errorf("asked for the last %d of %d bytes, got %d from offset %d: %w",
			want, p.Size, n, p.First, objstore.ErrRange)
	}
	return nil
}

// makeRoom returns memory for the size bytes that the store announced; less than 0
// stands for an answer that did not say.
func makeRoom(key string, size int64) ([]byte, error) {
	if size < 0 {
		return nil, errors.New("store did not say how long the object is")
	}
	if err := objstore.CheckSize(key, size); err != nil {
		return nil, err
	}
	return make([]byte, size), nil
}

// readBody fills dst with a body that has exactly its length. It reads on the caller's
// goroutine, so nothing writes to dst after it has returned.
func readBody(body io.Reader, dst []byte) error {
	n, err := io.ReadFull(body, dst)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("store announced %d bytes and sent %d: %w", len(dst), n, objstore.ErrRange)
	}
	if err != nil {
		return fmt.Errorf("read byte %d of %d: %w", n, len(dst), err)
	}
	// Reading on to the end lets the connection be used again, and finds an
	// answer that is longer than it said.
	if extra, err := io.Copy(io.Discard, io.LimitReader(body, 1)); extra > 0 || err != nil {
		return fmt.Errorf("store announced %d bytes and sent more (%v): %w", len(dst), err, objstore.ErrRange)
	}
	return nil
}
