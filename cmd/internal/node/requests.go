package node

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/tiering/segment"
)

// clusterRequests has the Driver answer the requests of other nodes.
type clusterRequests struct {
	loop   *drive.Loop
	driver *drive.Driver

	// handOver answers a node that is to lead a journal of this one.
	handOver func(ctx context.Context, from segment.ID, want membership.HandOver) (membership.Handing, error)
}

var _ kafka.Cluster = (*clusterRequests)(nil)

// Register implements kafka.Cluster, and so do all methods below.
func (c *clusterRequests) Register(ctx context.Context, node segment.ID, run metadata.Run) (int32, error) {
	r, err := answered(ctx, c.loop, func(answer func(drive.Registered)) { c.driver.Register(node, run, answer) })
	if err != nil {
		return 0, err
	}
	return r.ID, r.Err
}

func (c *clusterRequests) Heartbeat(ctx context.Context, h membership.Heartbeat) (membership.Answer, error) {
	return answered(ctx, c.loop, func(answer func(membership.Answer)) { c.driver.Heartbeat(h, answer) })
}

func (c *clusterRequests) Question(ctx context.Context, about membership.Leader) (membership.Reply, error) {
	return answered(ctx, c.loop, func(answer func(membership.Reply)) { c.driver.Question(about, answer) })
}

func (c *clusterRequests) Probe(ctx context.Context) (bool, error) {
	return answered(ctx, c.loop, c.driver.Probe)
}

func (c *clusterRequests) HandOver(ctx context.Context, from segment.ID, want membership.HandOver) (membership.Handing, error) {
	return c.handOver(ctx, from, want)
}

// answered has ask run on the goroutine of the Driver, and waits for the answer. The error is
// that of ctx, or that the loop has ended.
func answered[T any](ctx context.Context, loop *drive.Loop, ask func(answer func(T))) (T, error) {
	answers := make(chan T, 1)
	var none T
	if err := loop.Do(ctx, func() { ask(func(v T) { answers <- v }) }); err != nil {
		return none, err
	}
	select {
	case v := <-answers:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-loop.Ended():
	}
	select { // the answer may have been the last thing that the loop did
	case v := <-answers:
		return v, nil
	default:
		return none, drive.ErrEnded
	}
}
