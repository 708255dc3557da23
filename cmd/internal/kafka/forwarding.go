package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

const (
	// forwardLimit limits how long the controller is looked for, and may take to answer a
	// forwarded request: less than clients wait.
	forwardLimit = 25 * time.Second
	// forwardPause is the time between two attempts to reach the controller.
	forwardPause = 100 * time.Millisecond
	// awaitLimit limits how long an answer of the controller waits until this node has
	// applied the change.
	awaitLimit = 5 * time.Second
)

// forwarder sends requests of clients to the controller (KIP-590).
type forwarder struct {
	Control
	complaints *listener.Complaints
}

// orForward returns a handler that forwards requests to the controller while that is another
// node. here answers them if it is this one, and failed if the outcome is unknown. A request
// that another node has forwarded is not sent on.
func (s *services) orForward(here, failed listener.Handler) listener.Handler {
	return func(ctx context.Context, r *listener.Request) {
		if s.forward.Leads() || r.IsInside() {
			here(ctx, r)
			return
		}
		r.Go(func() {
			limited, cancel := context.WithTimeout(ctx, forwardLimit)
			defer cancel()
			answer, err := s.forward.send(limited, r.Client, r.Data())
			if errors.Is(err, errLeadsNow) {
				here(ctx, r)
				return
			}
			if err == nil {
				err = r.ReplyData(answer, 0)
			}
			if err != nil {
				s.forward.complaints.Warn("forward", "the controller did not answer a forwarded request; the client is asked to try again", "error", err)
				failed(ctx, r)
			}
		})
	}
}

var errLeadsNow = errors.New("this node has become the controller")

// send sends a request of a client to the controller, and returns the answer once this node
// has applied the change. It is sent again only as long as no controller has taken it: after
// any other error its outcome is unknown.
func (f *forwarder) send(ctx context.Context, by *listener.Client, data []byte) (answer []byte, err error) {
	req := kmsg.NewPtrEnvelopeRequest()
	req.RequestData, req.RequestPrincipal, req.ClientHostAddress = data, encodePrincipal(by.Principal), addressOf(by.Host)
	for {
		resp, err := f.Forward(ctx, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		switch {
		case err == nil:
			f.await(ctx, resp)
			return resp.ResponseData, nil
		case !errors.Is(err, ErrNotSent) && !errors.Is(err, kerr.NotController):
			return nil, err
		}
		select {
		case <-time.After(forwardPause):
		case <-ctx.Done():
			return nil, err
		}
		if f.Leads() {
			return nil, errLeadsNow
		}
	}
}

// await waits until this node has applied journal 0 up to the seq of an answer, so that the
// client finds the change here. It does not wait for long: the change is made.
func (f *forwarder) await(ctx context.Context, resp *kmsg.EnvelopeResponse) {
	ctx, cancel := context.WithTimeout(ctx, awaitLimit)
	defer cancel()
	if seq := seqOf(resp); seq > 0 {
		_ = f.Await(ctx, seq)
	}
}

// seqTag is the tag of an answer to an Envelope that has the seq up to which the controller
// has applied journal 0.
const seqTag = 7661

func setSeq(resp *kmsg.EnvelopeResponse, seq uint64) {
	resp.UnknownTags.Set(seqTag, binary.BigEndian.AppendUint64(nil, seq))
}

// seqOf returns the seq of an answer, 0 if it has none.
func seqOf(resp *kmsg.EnvelopeResponse) (seq uint64) {
	resp.UnknownTags.Each(func(tag uint32, b []byte) {
		if tag == seqTag && len(b) >= 8 {
			seq = binary.BigEndian.Uint64(b)
		}
	})
	return seq
}

// ask sends a request in the name of a client, and returns the controller's answer to it.
func (f *forwarder) ask(ctx context.Context, by *listener.Client, req kmsg.Request) (kmsg.Response, error) {
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID(by.ID))
	b, err := f.send(ctx, by, format.AppendRequest(nil, req, 0)[4:])
	if err != nil {
		return nil, err
	}
	resp, head := req.ResponseKind(), 4
	if resp.IsFlexible() {
		head++ // no tags in the header
	}
	if len(b) < head {
		return nil, fmt.Errorf("%w: an answer of %d bytes", listener.ErrMalformed, len(b))
	}
	return resp, resp.ReadFrom(b[head:])
}

// addressOf is the address of a client as KIP-590 has it.
func addressOf(host string) []byte {
	ip := net.ParseIP(host)
	if four := ip.To4(); four != nil {
		return four
	}
	return ip
}
