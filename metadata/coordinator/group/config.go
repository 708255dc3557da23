package group

import (
	"errors"
	"time"
)

// Config is the tuning of a Machine. Default gives Kafka's values.
type Config struct {
	// MinSession and MaxSession limit the session time-outs that members ask
	// for.
	MinSession, MaxSession time.Duration
	// InitialDelay is how long the first rebalance of an empty group waits for
	// more members. Each of them starts it again, up to the rebalance time-out.
	// With zero there is no wait.
	InitialDelay time.Duration
	// NewMemberTimeout ends the wait of a member that joins for the first time:
	// its client may have given up, and sends nothing that would show it.
	NewMemberTimeout time.Duration
	// MaxSize limits the members of a group; zero means no limit.
	MaxSize int
	// Memory limits the bytes that members hold; nil means no limit.
	Memory *Memory
	// MaxMetadata limits the text that may be committed with an offset, in
	// UTF-16 code units, as Java counts.
	MaxMetadata int
	// MaxAppend limits the bytes of the keys and values of one append.
	MaxAppend int
	// Retention is how long offsets are kept once no member consumes. It counts
	// from when the group became empty. In a group without members it counts
	// from the commit. So it does for topics to which a group with members is
	// not subscribed any more.
	Retention time.Duration
	// ExpireEvery is the time between two searches for expired offsets.
	ExpireEvery time.Duration
	// NewID makes the part of a member's id that distinguishes it from all
	// others.
	NewID func() string
}

// MaxAppend is the default of Config's, and thereby limits a group's members
// with their assignments: to 14 that consume 10,000 topics with names of 100
// letters.
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
		return errors.New("the limits of consumer groups' session time-outs leave no valid value")
	case c.InitialDelay < 0 || c.NewMemberTimeout <= 0 || c.Retention <= 0 || c.ExpireEvery <= 0:
		return errors.New("a time of consumer groups is not positive")
	case c.MaxSize < 0 || c.MaxMetadata < 0 || c.MaxAppend <= 0:
		return errors.New("a limit of consumer groups is negative")
	case c.NewID == nil:
		return errors.New("consumer groups need NewID")
	}
	return nil
}
