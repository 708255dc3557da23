package node

import (
	"context"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
	"github.com/varvelog/varve/metadata/coordinator/shard"
)

// groups shows the coordinators of consumer groups.
func (m *metrics) groups(g *groups, memory *group.Memory) {
	m.gauge("varve_group_member_bytes", "Bytes held of the members of consumer groups, of at most 268435456.", nil,
		func() float64 { return float64(memory.Used()) })
	sum := func(of func(shard.Stats) float64) func() float64 {
		return func() (total float64) {
			g.Each(func(s shard.Stats) { total += of(s) })
			return total
		}
	}
	count := func(is func(shard.Stats) bool) func() float64 {
		return sum(func(s shard.Stats) float64 {
			if is(s) {
				return 1
			}
			return 0
		})
	}
	m.gauge("varve_consumer_groups", "Consumer groups that this node coordinates.", nil, func() float64 { return float64(countGroups(g)) })
	m.gauge("varve_coordinators", "Partitions of __consumer_offsets whose groups this node coordinates.", nil,
		count(func(s shard.Stats) bool { return s.Phase == shard.Leading }))
	m.gauge("varve_coordinators_loading", "Partitions of __consumer_offsets that are being loaded.", nil,
		count(func(s shard.Stats) bool { return s.Phase == shard.Loading }))
	m.gauge("varve_coordinators_failed", "Partitions of __consumer_offsets with records that this program cannot apply; see the log.", nil,
		count(func(s shard.Stats) bool { return s.Failed }))
	m.gauge("varve_coordinator_load_seconds", "Longest time that the loading of a coordinator took.", nil, func() (most float64) {
		g.Each(func(s shard.Stats) { most = max(most, s.Load.Seconds()) })
		return most
	})
	m.counter("varve_coordinator_loaded_bytes_total", "Bytes of record batches that coordinators read beyond their snapshots.", nil,
		sum(func(s shard.Stats) float64 { return float64(s.Scanned) }))
	m.counter("varve_coordinator_appends_total", "Record batches that coordinators appended.", nil,
		sum(func(s shard.Stats) float64 { return float64(s.Appended) }))
}

// countLimit limits the time for counting groups.
const countLimit = 2 * time.Second

// countGroups returns the number of groups of all coordinators that lead. A
// coordinator that loads has none.
func countGroups(g *groups) (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), countLimit)
	defer cancel()
	for _, partition := range g.Led() {
		_ = g.Do(ctx, partition, func(m *group.Machine, _ coordinator.Out) { n += len(m.List()) })
	}
	return n
}
