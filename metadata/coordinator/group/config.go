package group

import (
	"errors"
	"time"
)

// Config is the tuning of a Machine. Default gives Kafka's values.
type Config struct {
	// MinSession and MaxSession bound the session time-outs that members bring.
	MinSession, MaxSession time.Duration
	// InitialDelay is how long the first rebalance of an empty group waits for more
	// members; it begins again with each of them, up to the rebalance time-out. Zero
	// does not wait.
	InitialDelay time.Duration
	// NewMemberTimeout ends the wait of a member that joins for the first time: its
	// client may have given up, and cannot show otherwise.
	NewMemberTimeout time.Duration
	// MaxSize bounds the members of a group; zero does not.
	MaxSize int
	// Memory bounds what members hold; nil does not.
	Memory *Memory
	// MaxMetadata bounds the text that may be committed with an offset, in UTF-16
	// code units, as Java counts.
	MaxMetadata int
	// MaxAppend bounds the bytes of the keys and values of one append.
	MaxAppend int
	// Retention is how long offsets are kept once nobody consumes: from when the
	// group became empty, from the commit for a group without members, and from the
	// commit for topics that a group with members is not subscribed to any more.
	Retention time.Duration
	// ExpireEvery is the time between two looks for offsets that are to go.
	ExpireEvery time.Duration
	// NewID makes the part of a member's id that tells it from all others.
	NewID func() string
}

// MaxAppend is the default of Config's, which bounds a group's members with their
// assignments: 14 that consume 10,000 topics with names of 100 letters.
const MaxAppend = 16 << 20

// Default is the configuration of Kafka's brokers, without NewID.
func Default() Config {
	return Config{
		MinSession: 6 * time.Second, MaxSession: 30 * time.Minute,
		InitialDelay: 3 * time.Second, NewMemberTimeout: 5 * time.Minute,
		MaxMetadata: 4096, MaxAppend: MaxAppend,
		Retention: 7 * 24 * time.Hour, ExpireEvery: 10 * time.Minute,
	}
}

func (c Config) validate() error {
	switch {
	case c.MinSession <= 0 || c.MaxSession < c.MinSession:
		return errors.New("bounds of session time-outs of consumer groups exclude all")
	case c.InitialDelay < 0 || c.NewMemberTimeout <= 0 || c.Retention <= 0 || c.ExpireEvery <= 0:
		return errors.New("a time of consumer groups is not positive")
	case c.MaxSize < 0 || c.MaxMetadata < 0 || c.MaxAppend <= 0:
		return errors.New("a limit of consumer groups is negative")
	case c.NewID == nil:
		return errors.New("consumer groups need NewID")
	}
	return nil
}
