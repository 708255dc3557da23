package group

import (
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// Machine is the groups of one partition of __consumer_offsets. It has one owner,
// and implements coordinator.Machine. Requests are answered only between Lead and
// Resign.
type Machine struct {
	config Config
	kept   map[string]*kept // by group id
}

var _ coordinator.Machine = (*Machine)(nil)

// New is the state before the first record of a partition.
func New(config Config) (*Machine, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Machine{config: config, kept: map[string]*kept{}}, nil
}

// Lead implements coordinator.Machine.
func (m *Machine) Lead(coordinator.Out) {}

// Resign implements coordinator.Machine.
func (m *Machine) Resign(error) {}

// Tick implements coordinator.Machine.
func (m *Machine) Tick(coordinator.Out) {}

// Next implements coordinator.Machine.
func (m *Machine) Next() time.Time { return time.Time{} }
