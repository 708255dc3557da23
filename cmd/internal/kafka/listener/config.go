package listener

import (
	"errors"
	"fmt"
	"time"
)

// Limits that are not options.
const (
	// maxDecodeCost limits the decoded form of one request, in bytes, without
	// the frame itself.
	maxDecodeCost = 64 << 20
	// maxElements limits the array elements and tags of one request.
	maxElements = 1_000_000
	// tinyFrame is the size of a connection's read buffer. A frame up to that
	// is charged when all of it has arrived. Of a larger one that much has
	// arrived before any of it is charged.
	tinyFrame = 4 << 10
	// tinyCost is the most that decoding a request may allocate if it is to go
	// on when the memory for that is used up.
	tinyCost = 64 << 10
	// smallFrame is the largest frame whose memory larger ones do not take.
	smallFrame = 1 << 20
	// firstStep is the first allocation for a frame that is not tiny. Each time
	// it is full, the next one is twice as large, so that no more than half of
	// it is empty.
	firstStep = 2 * tinyFrame
	// maxProven limits how large a frame may be to be allocated in full once a
	// provenShare of it has arrived. While half of the memory for such frames stays
	// free, it is allocated at once. That is done on a connection that has delivered
	// a frame as large before, and saves copying.
	maxProven   = 16 << 20
	provenShare = 4
	// minAnswers is the least memory for answers that wait to be sent.
	minAnswers = 16 << 20
	// maxInFlight is how many requests of a connection are in progress at once.
	maxInFlight = 128
	// maxUnwritten limits the finished answers, in bytes, that wait for a
	// client to read them; above it no further request begins.
	maxUnwritten = 16 << 20
)

// Config is the tuning of a Server. The zero value of a field means the default
// stated with it.
type Config struct {
	// MaxConnections and MaxConnectionsPerIP limit open connections. One above
	// the limit is closed at its first request, unless it proves that it is of a
	// node: see Reserve. Defaults 10,000 and 2,000.
	MaxConnections      int
	MaxConnectionsPerIP int
	// MaxRequestBytes limits a frame, in bytes: Kafka's
	// socket.request.max.bytes. Default 100 MiB.
	MaxRequestBytes int32
	// RequestMemory limits the bytes of requests that are read or in progress,
	// over all connections; beyond it no more is read from sockets. It has
	// parts: see budget. Default 256 MiB.
	RequestMemory int64
	// IdleTimeout closes a connection without a request under way, and one whose
	// client does not read. Default 10 min, as connections.max.idle.ms.
	IdleTimeout time.Duration
	// FrameGrace is how long a frame may take once its first byte has arrived.
	// A larger one may take as long again whenever MinReadRate (bytes per
	// second) was kept until then. A connection beyond the limits has FrameGrace
	// to prove that it is of a node. Defaults 30 s and 16 KiB/s.
	FrameGrace  time.Duration
	MinReadRate int64
	// DrainTimeout limits how long Serve waits for requests under way when it
	// stops. Default 10 s.
	DrainTimeout time.Duration
}

// WithDefaults returns c with the defaults in place of zeros.
func (c Config) WithDefaults() Config {
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxConnectionsPerIP, 2_000)
	setDefault(&c.MaxRequestBytes, 100<<20)
	setDefault(&c.RequestMemory, 256<<20)
	setDefault(&c.IdleTimeout, 10*time.Minute)
	setDefault(&c.FrameGrace, 30*time.Second)
	setDefault(&c.MinReadRate, 16<<10)
	setDefault(&c.DrainTimeout, 10*time.Second)
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c Config) validate() error {
	switch {
	case c.MaxConnections < 0, c.MaxConnectionsPerIP < 0,
		c.IdleTimeout < 0, c.FrameGrace < 0, c.MinReadRate < 0, c.DrainTimeout < 0:
		return errors.New("negative limit in the configuration of the Kafka listener")
	case c.MaxRequestBytes < smallFrame:
		return fmt.Errorf("maximum request size is %d bytes, must be at least %d", c.MaxRequestBytes, smallFrame)
	case c.RequestMemory < int64(c.MaxRequestBytes):
		return fmt.Errorf("request memory is %d bytes, must hold one request of %d", c.RequestMemory, c.MaxRequestBytes)
	}
	return nil
}
