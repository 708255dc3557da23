package mem

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
)

// Call is a call of a method of objstore.Store.
type Call struct {
	Op     objstore.Op
	Key    string // of List: the prefix
	Number int    // 1 for the first call of this Op
}

// Effect is the change that a call makes to the objects.
type Effect int

// The effects.
const (
	Apply     Effect = iota // the promise of the method
	Skip                    // nothing
	Later                   // Create, Delete: nothing until Release; reads: nothing
	Overwrite               // Create: replaces an object, as a store does that ignores If-None-Match
)

// Action is the fate of a call. The zero value is a call without a fault. Effect and
// answer are independent of each other, as they are on a network.
type Action struct {
	Effect Effect
	Err    error                    // answered instead of the truth
	Claim  bool                     // Create, Delete: answered with success, whatever the effect
	Hang   bool                     // not answered before ctx ends
	Damage func(data []byte) []byte // reads: changes a copy of the whole object; the answer is taken from it
}

var (
	errTimeout = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset")
)

// FailBefore is a call that fails with err before it had an effect.
func FailBefore(err error) Action { return Action{Effect: Skip, Err: err} }

// FailAfter is a call that had its effect, but whose answer was replaced by err.
func FailAfter(err error) Action { return Action{Err: err} }

// ReplyLost is a call that had its effect, but whose answer was lost.
func ReplyLost() Action { return FailAfter(errReset) }

// LandLate is a Create or Delete that times out and has its effect when the
// test calls Release.
func LandLate() Action { return Action{Effect: Later} }

// NeverAnswer is a call without an effect that blocks until its context ends.
func NeverAnswer() Action { return Action{Effect: Skip, Hang: true} }

// Missing is a read that does not find an object that is there.
func Missing() Action { return Action{Err: objstore.ErrNotFound} }

// Truncated is a read of an object that has lost all but its first n bytes.
func Truncated(n int) Action {
	return Action{Damage: func(data []byte) []byte { return data[:min(n, len(data))] }}
}

// BitFlipped is a read of an object in which one bit (counted from 0, modulo
// the object's size) is wrong.
func BitFlipped(bit int) Action {
	return Action{Damage: func(data []byte) []byte {
		if len(data) > 0 {
			data[bit/8%len(data)] ^= 1 << (bit % 8)
		}
		return data
	}}
}

// answer returns the answer to the caller: truth, unless the action says otherwise.
func (a Action) answer(ctx context.Context, verb, key string, truth error) error {
	err := truth
	if a.Err != nil {
		err = a.Err
	}
	if a.Hang {
		<-ctx.Done()
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s object %q: %w", verb, key, err)
	}
	return nil
}

// late is a call whose effect waits for Release. The body of a Create is the
// caller's own, as it is in a transport that has not sent it yet.
type late struct {
	call Call
	body objstore.Body
	lent int // its number
}

func (s *Store) holdBack(l late) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.late = append(s.mu.late, l)
}

// Late returns the calls that LandLate holds back, oldest first.
func (s *Store) Late() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make([]Call, len(s.mu.late))
	for i, l := range s.mu.late {
		calls[i] = l.call
	}
	return calls
}

// Release lets the i-th call of Late have its effect, and then releases its body. It
// returns the answer, nil or ErrExists, for which no caller waits any more.
func (s *Store) Release(i int) error {
	s.mu.Lock()
	l := s.mu.late[i]
	s.mu.late = append(s.mu.late[:i:i], s.mu.late[i+1:]...)
	s.mu.Unlock()
	if l.call.Op == objstore.OpDelete {
		s.DeleteNow(l.call.Key)
		return nil
	}
	defer s.giveBack(l.lent)
	data, err := l.body.Whole()
	if err != nil {
		return err
	}
	return s.CreateNow(l.call.Key, data)
}
