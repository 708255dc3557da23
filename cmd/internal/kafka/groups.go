package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// ask gives fn a turn of the machine that holds a group. The connection's reader calls
// it, so that a client's requests to a group are done in the order in which it sent
// them. After an error fn is not called, nor for a client that may not do op to the
// group.
func (s *groupService) ask(ctx context.Context, by *listener.Client, op operation, id string, fn func(m *group.Machine, out coordinator.Out)) error {
	if err := s.gate.group(by, op, id); err != nil {
		return err
	}
	if s.readsOnly() {
		return metadata.ErrReadsOnly
	}
	partition := s.groups.Partition(id)
	if partition < 0 {
		return coordinator.ErrNotCoordinator
	}
	return s.groups.Do(ctx, partition, fn)
}

// confirmed returns err, or that this node coordinates the group no more. A
// node that stood still while another took over must not keep members waiting.
func (s *groupService) confirmed(ctx context.Context, id string, err error) error {
	if partition := s.groups.Partition(id); err == nil && partition >= 0 {
		ctx, cancel := context.WithTimeout(ctx, confirmLimit)
		defer cancel()
		return s.groups.Confirm(ctx, partition)
	}
	return err
}

// groupCode returns the code for the outcome of a request to a coordinator.
func (s *groupService) groupCode(err error, doing string) int16 {
	return s.codeFor(err, onGroups, doing)
}

// parked is a request that may wait for long, for other members of its group.
// Later requests of the connection begin, but their answers wait for it, as in
// Kafka. Clients wait for it themselves, or use another connection.
type parked struct {
	once sync.Once
	stop func() bool
}

// park calls refuse to answer r when the connection ends or the server drains,
// which must not wait for members. It drops the body of r and gives back the
// charged memory: r waits for other clients, whose requests must find room.
func park(r *listener.Request, refuse func()) *parked {
	r.Forget()
	p := &parked{}
	p.stop = context.AfterFunc(r.Waits(), func() { p.once.Do(refuse) })
	return p
}

// answer answers the request, unless it is answered already.
func (p *parked) answer(fn func()) {
	p.once.Do(fn)
	p.stop()
}

// whileLoading replaces the error that the coordinator is loading by now, for
// requests at which Java clients would give up otherwise.
func whileLoading(err, now error) error {
	if errors.Is(err, coordinator.ErrLoading) {
		return now
	}
	return err
}

// hostOf is a client's address as Kafka's coordinators write it.
func hostOf(r *listener.Request) string { return "/" + r.Client.Host }

// tooLarge returns an error if a client's data for a group is too large to be
// written. Such data is not even copied.
func tooLarge(bytes int) error {
	if bytes > group.MaxAppend {
		return fmt.Errorf("%w: %d bytes, at most %d", coordinator.ErrTooLarge, bytes, group.MaxAppend)
	}
	return nil
}

// apart copies b, because it must outlive the frame it came in.
func apart(b []byte) []byte { return append([]byte{}, b...) }

// spread gives all partitions of a list the code of a common error, or each its
// own.
func (s *groupService) spread(codes []int16, each []error, all error, doing string) (first firstCode) {
	for i := range codes {
		err := all
		if err == nil {
			err = each[i]
		}
		codes[i] = first.note(s.groupCode(err, doing))
	}
	return first
}

var errCoordinatorDrains = coded(kerr.NotCoordinator, "the server is stopping")
