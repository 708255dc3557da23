package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

const (
	blockSize = 256 << 10 // bytes asked of the input at once
	blockRest = 16 << 10  // a block with less room left takes no further read
)

const standardInput = "standard input"

// source is an input of lines: a file, or standard input.
type source struct {
	name string
	open func() (io.ReadCloser, error)
	size int64         // bytes, if it is a file with a size
	read *atomic.Int64 // counts bytes as they are read, if not nil
}

// sources returns the inputs that the arguments name; none, or "-", is stdin.
// It returns an error about a file that it cannot read before anything is read
// from the others.
func sources(files []string, stdin io.Reader) (list []source, err error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if name == "-" {
			list = append(list, source{name: standardInput, size: fileSize(stdin),
				open: func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }})
			continue
		}
		src := source{name: name, open: func() (io.ReadCloser, error) { return os.Open(name) }}
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("nothing was written: %w", err)
		case info.IsDir():
			return nil, fmt.Errorf("nothing was written: %s is a folder; name the files in it", name)
		case info.Mode().IsRegular():
			src.size = info.Size()
		}
		list = append(list, src)
	}
	return list, nil
}

// fileSize returns the size of a stream that is a file, as in produce t < file,
// and 0 for any other.
func fileSize(stream any) int64 {
	f, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}

// inputSize returns how many bytes the inputs have, 0 if it is not known.
func inputSize(inputs []source) (total int64) {
	for _, src := range inputs {
		if src.size == 0 {
			return 0
		}
		total += src.size
	}
	return total
}

// block is the result of one read. Its bytes are never written again: lines are
// slices of it.
type block struct {
	data []byte
	err  error // io.EOF at the end of the input
}

// readBlocks reads r ahead of the splitter, until its end, its first error, or
// the end of ctx. A read that blocks in the kernel (a terminal, a quiet pipe)
// cannot be cancelled: it ends with the process.
func readBlocks(ctx context.Context, r io.Reader) <-chan block {
	blocks := make(chan block, 4)
	go func() {
		defer close(blocks)
		var room []byte
		for {
			if len(room) < blockRest {
				room = make([]byte, blockSize)
			}
			n, err := r.Read(room)
			b := block{room[:n:n], err}
			room = room[n:]
			select {
			case blocks <- b:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return blocks
}

// errLineTooLong: a line does not fit into a batch.
var errLineTooLong = errors.New("line too long")

// byteOrderMark stands before UTF-8 text that some programs write.
var byteOrderMark = []byte("\uFEFF")

// splitter cuts blocks into lines. A line ends at \n and nowhere else; a \r
// belongs to it. The bytes after the last \n are a line if there are any. A
// byte order mark at the beginning belongs to no line.
type splitter struct {
	limit int    // largest number of bytes of a line
	carry []byte // beginning of a line that continues in the next block
	line  int64  // number of the current line, from 1
	emit  func(line []byte) error
}

// feed takes the next block.
func (s *splitter) feed(data []byte) error {
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			if len(s.carry)+len(data) > s.limit {
				s.line++
				return errLineTooLong
			}
			s.carry = append(s.carry, data...)
			return nil
		}
		line := data[:i:i]
		if len(s.carry) > 0 {
			line = append(s.carry, line...)
			s.carry = nil // the receiver of the line owns it now
		}
		if err := s.next(line); err != nil {
			return err
		}
		data = data[i+1:]
	}
}

// finish handles the end of the input.
func (s *splitter) finish() error {
	line := s.carry
	s.carry = nil
	if len(line) == 0 || s.line == 0 && bytes.Equal(line, byteOrderMark) {
		return nil
	}
	return s.next(line)
}

func (s *splitter) next(line []byte) error {
	s.line++
	if len(line) > s.limit {
		return errLineTooLong
	}
	if s.line == 1 {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	return s.emit(line)
}

// eachLine calls emit with every line of src in order, and adds the number of
// the line to an error. At the end of ctx it stops between two lines with
// errInterrupted.
func eachLine(ctx context.Context, src source, limit int, emit func(number int64, line []byte) error) error {
	r, err := src.open()
	if err != nil {
		return err // names the file
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	blocks := readBlocks(ctx, r)
	s := &splitter{limit: limit}
	s.emit = func(line []byte) error {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return emit(s.line, line)
	}
	for {
		select {
		case <-ctx.Done():
			return errInterrupted
		case b := <-blocks:
			if src.read != nil {
				src.read.Add(int64(len(b.data)))
			}
			err := s.feed(b.data)
			if err == nil && errors.Is(b.err, io.EOF) {
				err = s.finish()
			}
			switch {
			case errors.Is(err, errInterrupted), errors.Is(err, errStopped):
				return err
			case err != nil:
				return fmt.Errorf("%s, line %d: %w", src.name, s.line, err)
			case errors.Is(b.err, io.EOF):
				return nil
			case b.err != nil:
				return fmt.Errorf("read %s after line %d: %w", src.name, s.line, b.err)
			}
		}
	}
}
