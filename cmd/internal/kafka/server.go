package kafka

import (
	"log/slog"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/tiering/batch"
)

// Server has the handlers of all API keys.
type Server struct {
	config    Config
	backend   Backend
	complaint *listener.Complaints
	lookingUp *semaphore.Weighted // partitions of ListOffsets
	walk      *batch.Room         // what decompressing records takes; those that have it wait for nothing
}

// minWalkers is how many batches are decompressed at once for producers, at least.
const minWalkers = 4

// New checks the configuration and returns a server that serves nothing yet.
func New(config Config, backend Backend) (*listener.Server, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	if err := backend.validate(); err != nil {
		return nil, err
	}
	if backend.Log == nil {
		backend.Log = slog.Default()
	}
	s := &Server{
		config: config, backend: backend, complaint: listener.NewComplaints(backend.Log),
		lookingUp: semaphore.NewWeighted(allLookups),
		walk:      batch.NewRoom(config.Listener.WithDefaults().RequestMemory/4, max(runtime.GOMAXPROCS(0), minWalkers)),
	}
	return listener.New(config.Listener, s.apis(), listener.Surroundings{
		Now: backend.Now, Complaints: s.complaint, Metrics: backend.Metrics, Log: backend.Log,
	})
}
