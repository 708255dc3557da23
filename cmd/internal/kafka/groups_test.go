package kafka

import (
	"context"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/group"
)

// noGroups coordinates no group.
type noGroups struct{}

func (noGroups) Partition(string) int32                             { return -1 }
func (noGroups) Coordinator(context.Context, string) (int32, error) { return -1, nil }
func (noGroups) Do(context.Context, int32, func(*group.Machine, coordinator.Out)) error {
	return coordinator.ErrNotCoordinator
}
func (noGroups) Prove(context.Context, int32) error { return coordinator.ErrNotCoordinator }
func (noGroups) Led() []int32                       { return nil }
