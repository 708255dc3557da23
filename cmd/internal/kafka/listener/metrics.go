package listener

import "time"

// Observation describes a finished request.
type Observation struct {
	API      string        // the name of its key, as "Produce"
	Version  int16         // of the request
	Code     int16         // the first error code of its answer, 0 if there is none
	Took     time.Duration // from the last byte of the frame to the last byte of the answer
	BytesIn  int           // of the frame
	BytesOut int           // of the answer; 0 if there is none
}

// Metrics receives the server's counts. Its methods are called concurrently and
// must not block.
type Metrics interface {
	// Request is called once for every request whose answer was written, or
	// that needs none.
	Request(Observation)
	// Connections is called with +1 and -1 as connections open and close.
	Connections(delta int)
	// Refused is called for every connection that the server itself closes. The
	// reason is one of a small set of words.
	Refused(reason string)
}

// NoMetrics counts nothing.
type NoMetrics struct{}

// Request does nothing.
func (NoMetrics) Request(Observation) {}

// Connections does nothing.
func (NoMetrics) Connections(int) {}

// Refused does nothing.
func (NoMetrics) Refused(string) {}
