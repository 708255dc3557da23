package proc

import (
	"io"
	"sync"
)

// tailBytes is how much of a process's output is kept: enough for a long test's
// log, little enough for hundreds of processes.
const tailBytes = 1 << 20

// tail keeps the last tailBytes written to it. Both output streams of a
// process write to it, each from a goroutine of its own.
type tail struct {
	mu struct {
		sync.Mutex
		kept    []byte
		dropped bool
	}
}

// Write never fails: a process must not get a broken pipe because of its log.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.kept = append(t.mu.kept, b...)
	// Trimming at twice the size moves each byte once only.
	if len(t.mu.kept) > 2*tailBytes {
		n := copy(t.mu.kept, t.mu.kept[len(t.mu.kept)-tailBytes:])
		t.mu.kept, t.mu.dropped = t.mu.kept[:n], true
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.dropped {
		return "[earlier output dropped]\n" + string(t.mu.kept)
	}
	return string(t.mu.kept)
}

func (t *tail) tee(also io.Writer) io.Writer {
	if also == nil {
		return t
	}
	return io.MultiWriter(t, also)
}
