package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// InitProducerId, key 22 (KIP-98).
//
//	v2  flexible
//	v3  producer id and epoch of a producer that recovers (KIP-360); without a
//	    transactional id they are ignored, and the producer gets a new id
//	v4  PRODUCER_FENCED may be answered
//	v5  TRANSACTION_ABORTABLE may be answered (KIP-890)
//
// The answer has no field for a message. So a transactional id is refused with
// a code that every client treats as final, and so is any request on a node
// that only reads.
func init() {
	register(listener.API{
		Key: kmsg.InitProducerID, Min: 0, Max: 5, MaxFrame: listener.PlainFrame,
		Shape: shape{str(), num(4), num(8).From(3), num(2).From(3)},
	}, func(s *services) listener.Handler { return s.writing.beginInitProducerID })
}

// producerIDWait limits how long an answer waits for a block of ids to be
// committed; clients wait for 30 seconds and more.
const producerIDWait = 20 * time.Second

func (s *writeService) beginInitProducerID(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if resp.ErrorCode = s.refusesProducer(r, req); resp.ErrorCode != 0 {
		r.Reply(resp, resp.ErrorCode)
		return
	}
	r.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, producerIDWait)
		defer cancel()
		id, err := s.producerIDs.NextProducerID(ctx)
		if err == nil && id < 0 {
			err = fmt.Errorf("producer id is %d", id)
		}
		if err != nil {
			// The only retriable code at which no client looks for a
			// transaction coordinator.
			s.complaints.Warn("producer id", "cannot allocate a producer id; the client is asked to retry", "error", err)
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			r.Reply(resp, resp.ErrorCode)
			return
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
		r.Reply(resp, 0)
	})
}

// refusesProducer returns the code with which a producer is refused, 0 if it is not.
func (s *writeService) refusesProducer(r *listener.Request, req *kmsg.InitProducerIDRequest) int16 {
	if req.TransactionalID != nil {
		if err := s.gate.transactionalID(r.Client, toWrite, *req.TransactionalID); err != nil {
			return s.codeFor(err, onProduce, "InitProducerId")
		}
		s.complaints.Warn("transactions", "refused a transactional producer: transactions are not supported yet",
			append(r.Client.Logged("client"), "transactional_id", *req.TransactionalID)...)
		return kerr.TransactionalIDAuthorizationFailed.Code
	}
	if err := s.gate.producerID(r.Client); err != nil {
		return s.codeFor(err, onProduce, "InitProducerId")
	}
	switch {
	case s.readsOnly():
		s.complaints.Warn("producer on a node that only reads", "refused a producer", append(r.Client.Logged("client"), "error", metadata.ErrReadsOnly)...)
		return kerr.ClusterAuthorizationFailed.Code
	case r.Version >= 3 && (req.ProducerID < 0) != (req.ProducerEpoch < 0):
		return kerr.InvalidRequest.Code
	}
	return 0
}
