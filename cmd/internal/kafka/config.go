package kafka

import (
	"errors"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// Config is the tuning of the Kafka front. The zero value of a field means the
// default stated with it.
type Config struct {
	// Listener is the tuning of connections and of the memory for requests.
	Listener listener.Config
	// FetchMaxBytes bounds the records of one Fetch answer, in bytes, but for
	// KIP-74's first batch. Default 55 MiB, as Kafka's fetch.max.bytes.
	FetchMaxBytes int32
	// AutoCreateTopics lets Metadata requests that allow it create topics.
	AutoCreateTopics bool
}

func (c Config) withDefaults() Config {
	c.Listener = c.Listener.WithDefaults()
	if c.FetchMaxBytes == 0 {
		c.FetchMaxBytes = 55 << 20
	}
	return c
}

func (c Config) validate() error {
	if c.FetchMaxBytes < 0 {
		return errors.New("negative limit of a Fetch answer")
	}
	return nil
}
