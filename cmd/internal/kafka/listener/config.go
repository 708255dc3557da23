package listener

import (
	"errors"
	"fmt"
	"time"
)

// Limits that are not options.
const (
	// maxDecodeCost bounds what the decoded form of one request may take, in
	// bytes, without the frame itself.
	maxDecodeCost = 64 << 20
	// maxElements bounds the array elements and tags of one request.
	maxElements = 1_000_000
	// tinyFrame is what a connection's read buffer holds: a frame up to that is
	// charged when all of it has arrived, and of a larger one that much has arrived
	// before any of it is charged.
	tinyFrame = 4 << 10
	// tinyCost is the most that decoding a request may allocate for it to go on when
	// the memory for that is used up.
	tinyCost = 64 << 10
	// smallFrame is the largest frame whose memory larger ones do not take.
	smallFrame = 1 << 20
	// firstStep is what is allocated first for a frame that is not tiny; then twice
	// as much each time it is full, so that no more than half of it is empty.
	firstStep = 2 * tinyFrame
	// maxProven bounds how large a frame may be to be allocated in full once a
	// provenShare of it has arrived, on a connection that has delivered one as large
	// before: that saves copying.
	maxProven   = 16 << 20
	provenShare = 4
	// minAnswers is the least memory for answers that wait to be sent.
	minAnswers = 16 << 20
	// maxInFlight is how many requests of a connection are worked on at once.
	maxInFlight = 128
	// maxUnwritten bounds the finished answers, in bytes, that wait for a
	// client to read them; above it no further request is begun.
	maxUnwritten = 16 << 20
)

// Config is the tuning of a Server. The zero value of a field means the default
// stated with it.
type Config struct {
	// MaxConnections and MaxConnectionsPerIP bound open connections; one too
	// many is closed at once. Defaults 10,000 and 2,000.
	MaxConnections      int
	MaxConnectionsPerIP int
	// MaxRequestBytes bounds a frame, in bytes: Kafka's
	// socket.request.max.bytes. Default 100 MiB.
	MaxRequestBytes int32
	// RequestMemory bounds the bytes of requests being read and worked on, over
	// all connections; beyond it sockets are not read. It has parts: see budget.
	// Default 256 MiB.
	RequestMemory int64
	// IdleTimeout closes a connection without a request under way, and one whose
	// client does not read. Default 10 min, as connections.max.idle.ms.
	IdleTimeout time.Duration
	// FrameGrace is how long a frame may take once its first byte has arrived. A
	// larger one may take as long again whenever MinReadRate (bytes per second) was
	// kept until then. Defaults 30 s and 16 KiB/s.
	FrameGrace  time.Duration
	MinReadRate int64
	// DrainTimeout bounds how long Serve waits for requests under way when it is
	// told to stop. Default 10 s.
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
