package kafka

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
	maxElements = 100_000
	// smallFrame is the part of a frame that is charged before any of it is
	// read. Frames beyond it are charged in full once that much has arrived.
	smallFrame = 1 << 20
	// maxProven bounds how large a frame may be to be allocated at once, on a
	// connection that has delivered one as large before.
	maxProven = 16 << 20
	// firstChunk is what is allocated for a frame before any of it has arrived.
	firstChunk = 64 << 10
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
	// all connections; beyond it sockets are not read. Half of it, but at least
	// MaxRequestBytes, is for the parts of frames beyond 1 MiB. Default 256 MiB.
	RequestMemory int64
	// FetchMaxBytes bounds the records of one Fetch answer, in bytes, but for
	// KIP-74's first batch. Default 55 MiB, as Kafka's fetch.max.bytes.
	FetchMaxBytes int32
	// IdleTimeout closes a connection without a request under way, and one whose
	// client does not read. Default 10 min, as connections.max.idle.ms.
	IdleTimeout time.Duration
	// FrameGrace and MinReadRate (bytes per second) bound the time a frame may
	// take once its first byte has arrived: grace + size / rate. Defaults 30 s
	// and 16 KiB/s.
	FrameGrace  time.Duration
	MinReadRate int64
	// DrainTimeout bounds how long Serve waits for requests under way when it is
	// told to stop. Default 10 s.
	DrainTimeout time.Duration
	// AutoCreateTopics lets Metadata requests that allow it create topics.
	AutoCreateTopics bool
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxConnectionsPerIP, 2_000)
	setDefault(&c.MaxRequestBytes, 100<<20)
	setDefault(&c.RequestMemory, 256<<20)
	setDefault(&c.FetchMaxBytes, 55<<20)
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
	case c.MaxConnections < 0, c.MaxConnectionsPerIP < 0, c.FetchMaxBytes < 0,
		c.IdleTimeout < 0, c.FrameGrace < 0, c.MinReadRate < 0, c.DrainTimeout < 0:
		return errors.New("negative limit in the configuration of the Kafka listener")
	case c.MaxRequestBytes < smallFrame:
		return fmt.Errorf("maximum request size is %d bytes, must be at least %d", c.MaxRequestBytes, smallFrame)
	case c.RequestMemory < int64(c.MaxRequestBytes):
		return fmt.Errorf("request memory is %d bytes, must hold one request of %d", c.RequestMemory, c.MaxRequestBytes)
	}
	return nil
}
