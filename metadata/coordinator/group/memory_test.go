package group

import (
	"errors"
	"testing"
)

// with is a request of a member that brings that many bytes.
func with(group string, bytes int) JoinRequest {
	return request(func(r *JoinRequest) {
		r.Group, r.NeedsID = group, false
		r.Protocols = []Protocol{{Name: "p", Metadata: make([]byte, bytes)}}
	})
}

func TestMembersThatBringTooMuchAreRefused(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxAppend, c.Memory = 50_000, NewMemory(150_000) })
	for _, step := range []struct {
		group string
		bytes int
		want  error
	}{
		{"a", 120_000, ErrGroupFull}, // could never be written
		{"a", 60_000, nil},
		{"a", 60_000, ErrGroupFull},
		{"b", 60_000, nil},
		{"c", 60_000, ErrNoMemory}, // other groups hold it
		{"c", 10_000, nil},
	} {
		c := w.join(with(step.group, step.bytes))
		if step.want == nil {
			c.waits(t)
			continue
		}
		if a := c.get(t); !errors.Is(a.Err, step.want) {
			t.Errorf("%+v: %v", step, a.Err)
		}
	}
	w.pass(w.config.NewMemberTimeout * 2) // they do not come back
	if used := w.config.Memory.Used(); used != 0 {
		t.Errorf("%d bytes are held of members that are gone", used)
	}
	w.join(with("c", 60_000)).waits(t)
}

func TestLeadershipThatEndsHoldsNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.form(3)
	w.newID(request(nil))
	if w.config.Memory.Used() == 0 {
		t.Fatal("nothing is held")
	}
	w.m.Resign(errors.New("over"))
	if used := w.config.Memory.Used(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
}
