package minio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/objstore"
)

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, err
	}
	data, err := s.get(ctx, key)
	if err != nil {
		return nil, s.explain("get", key, err)
	}
	return data, nil
}

func (s *Store) get(ctx context.Context, key string) ([]byte, error) {
	body, info, _, err := s.reads.GetObject(ctx, s.bucket, s.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if info.Size < 0 {
		return nil, errors.New("store did not say how long the object is")
	}
	return readBody(key, body, info.Size)
}

// GetRange implements objstore.Store.
func (s *Store) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := objstore.CheckRange(key, offset, length); err != nil {
		return nil, err
	}
	data, got, err := s.getRange(ctx, key, fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	if err == nil && (got.first != offset || int64(len(data)) != length) {
		err = fmt.Errorf("asked for %d bytes from offset %d, got %d from %d: %w",
			length, offset, len(data), got.first, objstore.ErrRange)
	}
	if err != nil {
		return nil, s.explain("get", key, err)
	}
	return data, nil
}

// GetTail implements objstore.Store. On S3 it takes a second request when the
// object is empty, because there is no range in an empty object.
func (s *Store) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if err := objstore.CheckRange(key, 0, n); err != nil {
		return nil, 0, err
	}
	data, got, err := s.getRange(ctx, key, fmt.Sprintf("bytes=-%d", n))
	if answerOf(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		if data, err = s.get(ctx, key); len(data) > 0 {
			err = fmt.Errorf("store refused a range of an object of %d bytes", len(data))
		}
	}
	if err == nil && (got.first+int64(len(data)) != got.size || int64(len(data)) != min(n, got.size)) {
		err = fmt.Errorf("asked for the last %d of %d bytes, got %d from offset %d: %w",
			n, got.size, len(data), got.first, objstore.ErrRange)
	}
	if err != nil {
		return nil, 0, s.explain("get", key, err)
	}
	return data, got.size, nil
}

// getRange sends one GET with a Range header and returns what came of which
// part.
func (s *Store) getRange(ctx context.Context, key, byteRange string) ([]byte, contentRange, error) {
	opts := minio.GetObjectOptions{}
	opts.Set("Range", byteRange)
	body, _, header, err := s.reads.GetObject(ctx, s.bucket, s.prefix+key, opts)
	if err != nil {
		return nil, contentRange{}, err
	}
	defer body.Close()
	got, err := parseContentRange(header)
	if err != nil {
		return nil, contentRange{}, err
	}
	data, err := readBody(key, body, got.last-got.first+1)
	return data, got, err
}

// contentRange is the header of that name, RFC 9110 section 14.4.
type contentRange struct {
	first, last int64 // offsets of the first and the last byte
	size        int64 // of the object
}

// parseContentRange reads "bytes 0-9/100", and "bytes 0--1/0", by which MinIO
// answers for an empty object. An answer without the header is not one to a
// request for a range.
func parseContentRange(header http.Header) (contentRange, error) {
	value := header.Get("Content-Range")
	if value == "" {
		return contentRange{}, errors.New("store ignored the Range header")
	}
	var r contentRange
	span, size, ok1 := strings.Cut(strings.TrimPrefix(value, "bytes "), "/")
	first, last, ok2 := strings.Cut(span, "-")
	var errs [3]error
	r.first, errs[0] = strconv.ParseInt(first, 10, 64)
	r.last, errs[1] = strconv.ParseInt(last, 10, 64)
	r.size, errs[2] = strconv.ParseInt(size, 10, 64)
	inside := r.first >= 0 && r.first <= r.last && r.last < r.size
	if empty := r == (contentRange{0, -1, 0}); !ok1 || !ok2 || errors.Join(errs[:]...) != nil || !inside && !empty {
		return contentRange{}, fmt.Errorf("store sent Content-Range %q", value)
	}
	return r, nil
}

// readBody reads exactly size bytes, which the store announced.
func readBody(key string, body io.Reader, size int64) ([]byte, error) {
	if err := objstore.CheckSize(key, size); err != nil {
		return nil, err
	}
	data := make([]byte, size)
	n, err := io.ReadFull(body, data)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("store announced %d bytes and sent %d: %w", size, n, objstore.ErrRange)
	}
	if err != nil {
		return nil, fmt.Errorf("read byte %d of %d: %w", n, size, err)
	}
	// Reading on to the end lets the connection be used again, and finds an
	// answer that is longer than it said.
	if extra, err := io.Copy(io.Discard, io.LimitReader(body, 1)); extra > 0 || err != nil {
		return nil, fmt.Errorf("store announced %d bytes and sent more (%v): %w", size, err, objstore.ErrRange)
	}
	return data, nil
}
