// Package shardtest has a coordinator.Machine for tests of hosts: a map of registers.
//
// It owns the smallest kept state that shows records which are lost, doubled or
// applied out of order. It promises equal bytes for equal states. It is not for use outside
// tests.
package shardtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// Registers maps keys to numbers. A number never goes down: Apply says so.
type Registers struct {
	// Every is how long after a turn of Lead or Tick a Tick is wanted, which appends
	// to the register "tick"; zero for never.
	Every time.Duration
	// Led and Resigned are called, if they are set.
	Led      func()
	Resigned func(error)

	Deleted [][16]byte // topics reported so far

	kept    map[string]register
	applied int64 // offset of the last record applied, -1 before the first
	leading bool
	due     time.Time
}

type register struct {
	value  int
	offset int64 // of the record
	timeMs int64
}

// New returns an empty Machine.
func New() *Registers { return &Registers{kept: map[string]register{}, applied: -1} }

// Set appends a number for a key, with pad bytes behind it.
func (m *Registers) Set(out coordinator.Out, key string, value, pad int, done func(error)) {
	if !m.leading {
		panic("shardtest: a turn without leading")
	}
	v := strconv.AppendInt(nil, int64(value), 10)
	v = append(append(v, ' '), bytes.Repeat([]byte{'.'}, pad)...)
	out.Append([]coordinator.Record{{Key: []byte(key), Value: v}}, func(_ coordinator.Out, err error) { done(err) })
}

// Get is the number of a key, 0 if it has none.
func (m *Registers) Get(key string) int { return m.kept[key].value }

// Apply implements coordinator.Machine.
func (m *Registers) Apply(at coordinator.Position, r coordinator.Record) error {
	number, _, ok := strings.Cut(string(r.Value), " ")
	value, err := strconv.Atoi(number)
	switch key := string(r.Key); {
	case !ok || err != nil:
		return fmt.Errorf("record of %q is not a number", key)
	case at.Offset != m.applied+1:
		return fmt.Errorf("offset %d after %d", at.Offset, m.applied)
	case value <= m.kept[key].value:
		return fmt.Errorf("%q goes from %d to %d", key, m.kept[key].value, value)
	default:
		m.kept[key] = register{value, at.Offset, at.TimestampMs}
		m.applied = at.Offset
	}
	return nil
}

// Snapshot implements coordinator.Machine.
func (m *Registers) Snapshot() []byte {
	b := fmt.Appendf(nil, "%d\n", m.applied)
	for _, key := range slices.Sorted(maps.Keys(m.kept)) {
		r := m.kept[key]
		b = fmt.Appendf(b, "%s %d %d %d\n", key, r.value, r.offset, r.timeMs)
	}
	return b
}

// Restore implements coordinator.Machine.
func (m *Registers) Restore(snapshot []byte) error {
	lines := strings.Split(string(snapshot), "\n")
	if _, err := fmt.Sscan(lines[0], &m.applied); err != nil {
		return err
	}
	m.kept = map[string]register{}
	for _, line := range lines[1 : len(lines)-1] {
		var key string
		var r register
		if _, err := fmt.Sscan(line, &key, &r.value, &r.offset, &r.timeMs); err != nil {
			return err
		}
		m.kept[key] = r
	}
	return nil
}

// Lead implements coordinator.Machine.
func (m *Registers) Lead(out coordinator.Out) {
	m.leading = true
	m.schedule(out)
	if m.Led != nil {
		m.Led()
	}
}

func (m *Registers) schedule(out coordinator.Out) {
	m.due = time.Time{}
	if m.Every > 0 {
		m.due = out.Now().Add(m.Every)
	}
}

// Resign implements coordinator.Machine.
func (m *Registers) Resign(err error) {
	if !m.leading || !errors.Is(err, coordinator.ErrNotCoordinator) {
		panic(fmt.Sprintf("shardtest: resigned while leading is %v: %v", m.leading, err))
	}
	m.leading, m.due = false, time.Time{}
	if m.Resigned != nil {
		m.Resigned(err)
	}
}

// Tick implements coordinator.Machine.
func (m *Registers) Tick(out coordinator.Out) {
	m.schedule(out)
	m.Set(out, "tick", int(out.Now().UnixMilli()), 0, func(error) {})
}

// TopicsDeleted implements coordinator.Machine.
func (m *Registers) TopicsDeleted(_ coordinator.Out, ids [][16]byte) {
	if !m.leading {
		panic("shardtest: topics are deleted without leading")
	}
	m.Deleted = append(m.Deleted, ids...)
}

// Next implements coordinator.Machine.
func (m *Registers) Next() time.Time { return m.due }
