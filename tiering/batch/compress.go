package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// zstdWindow is the largest window of batches that are compressed here, in bytes. Clients
// read at least 8 MiB, which is the limit of RFC 8878 for general use.
const zstdWindow = 8 << 20

// xerialBlock is how many bytes a block of snappy holds before compression, as in Kafka's
// Java client.
const xerialBlock = 32 << 10

// compress appends src to dst, compressed so that all Kafka clients can read it. level is
// one of the codec's own, as Kafka's topic configs compression.*.level have it; codecs
// without levels ignore it.
func compress(dst, src []byte, codec Codec, level int) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(dst, src, level)
	case Snappy:
		return compressSnappy(dst, src), nil
	case LZ4:
		return compressLZ4(dst, src, level)
	case Zstd:
		return compressZstd(dst, src, level)
	}
	return nil, fmt.Errorf("%w: %d", ErrCodec, codec)
}

// gzipWriters are writers that are used again, by level from -1 to 9: each has some
// hundreds of kilobytes.
var gzipWriters [11]sync.Pool

func compressGzip(dst, src []byte, level int) ([]byte, error) {
	if level < -1 || level > 9 {
		return nil, fmt.Errorf("gzip: level %d", level)
	}
	out := bytes.NewBuffer(dst)
	w, _ := gzipWriters[level+1].Get().(*gzip.Writer)
	if w == nil {
		w, _ = gzip.NewWriterLevel(out, level) // the level is valid
	}
	defer func() {
		w.Reset(io.Discard) // lets go of out
		gzipWriters[level+1].Put(w)
	}()
	w.Reset(out)
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return out.Bytes(), nil
}

// compressSnappy writes the framing of the Java client's library, version 1:
//
//	 0  8  magic "\x82SNAPPY\x00"
//	 8  4  version, 1
//	12  4  oldest version that can read it, 1
//	16     blocks: length u32, snappy
func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	room := make([]byte, s2.MaxEncodedLen(min(len(src), xerialBlock)))
	for len(src) > 0 {
		n := min(len(src), xerialBlock)
		block := s2.EncodeSnappy(room, src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		src = src[n:]
	}
	return dst
}

// compressLZ4 writes one frame of independent blocks of 64 KiB, as Kafka's clients do.
// Levels 1 to 9 are those of the library; higher ones compress as 9 does.
func compressLZ4(dst, src []byte, level int) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w := lz4.NewWriter(out)
	speed := lz4.Fast
	if n := min(level, 9); n > 1 {
		speed = lz4.Level1 << (n - 1)
	}
	err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.BlockChecksumOption(false), lz4.ChecksumOption(false), lz4.CompressionLevelOption(speed))
	if err == nil {
		_, err = w.Write(src)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("lz4: %w", err)
	}
	return out.Bytes(), nil
}

// zstdEncoders has an encoder for each of the library's levels, made at first use. An
// encoder may be used by many goroutines at once.
var zstdEncoders [zstd.SpeedBestCompression + 1]struct {
	once    sync.Once
	encoder *zstd.Encoder
	err     error
}

func compressZstd(dst, src []byte, level int) ([]byte, error) {
	speed := zstd.EncoderLevelFromZstd(level)
	e := &zstdEncoders[speed]
	e.once.Do(func() {
		e.encoder, e.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1))
	})
	if e.err != nil {
		return nil, fmt.Errorf("zstd: %w", e.err)
	}
	return e.encoder.EncodeAll(src, dst), nil
}
