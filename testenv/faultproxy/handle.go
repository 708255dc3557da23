package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// handle applies the faults to a request.
func (p *Proxy) handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client has gone
	}
	fault := p.draw(r)
	switch fault.Kind {
	case Unavailable:
		p.fire(fault.Kind)
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	case Reset:
		p.fire(fault.Kind)
		reset(w)
	case BlackHole:
		p.fire(fault.Kind)
		p.sleep(r.Context(), fault.Delay)
		reset(w)
	case Latency:
		p.fire(fault.Kind)
		p.sleep(context.Background(), p.latency(fault))
		p.relay(w, r, body, fault)
	case LateArrival:
		p.arriveLate(r, body, fault.Delay)
		reset(w)
	case FalseConflict:
		p.fire(fault.Kind)
		refuse(w, http.StatusConflict, "ConditionalRequestConflict")
	case ErrorIn200:
		p.fire(fault.Kind)
		refuse(w, http.StatusOK, "InternalError")
	case StalledPut:
		p.stallPut(w, r, body, fault.Delay)
	default:
		p.relay(w, r, body, fault)
	}
}

// relay passes the request on and the answer back, with the faults of answers.
func (p *Proxy) relay(w http.ResponseWriter, r *http.Request, body []byte, fault Fault) {
	a, err := p.pass(r, body)
	if err != nil {
		reset(w) // as the client would see without a proxy
		return
	}
	if fault.Kind == ReplyLost {
		p.fire(fault.Kind)
		reset(w)
		return
	}
	content := r.Method == http.MethodGet && len(a.body) > 1 && (a.status == http.StatusOK || a.status == http.StatusPartialContent)
	if !content {
		a.write(w, len(a.body))
		return
	}
	switch fault.Kind {
	case Missing:
		p.fire(fault.Kind)
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case FlippedGet:
		p.fire(fault.Kind)
		bit := p.intN(8 * len(a.body))
		a.body[bit/8] ^= 1 << (bit % 8)
		a.write(w, len(a.body))
	case TruncatedGet:
		p.fire(fault.Kind)
		a.write(w, len(a.body)/2)
		_ = http.NewResponseController(w).Flush() // the client may be gone
		reset(w)
	case StalledGet:
		p.fire(fault.Kind)
		half := len(a.body) / 2
		a.write(w, half)
		_ = http.NewResponseController(w).Flush()
		p.sleep(r.Context(), fault.Delay)
		_, _ = w.Write(a.body[half:])
	default:
		a.write(w, len(a.body))
	}
}

// write writes the answer with the first n bytes of its body. An error means
// that the client has gone.
func (a *answer) write(w http.ResponseWriter, n int) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Del("Connection")
	if len(a.body) > 0 {
		w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body[:n])
}

// arriveLate passes the request on later, even if the client has gone.
func (p *Proxy) arriveLate(r *http.Request, body []byte, delay time.Duration) {
	late := r.Clone(context.Background()) // r is the server's again when handle returns
	p.addLate(1)
	p.running.Go(func() {
		defer p.addLate(-1)
		p.sleep(context.Background(), delay)
		if p.ctx.Err() != nil {
			return
		}
		if _, err := p.pass(late, body); err == nil {
			p.fire(LateArrival)
		}
	})
}

// errBroken is the error with which a connection to the store ends in the
// middle of a body.
var errBroken = errors.New("broken by the fault proxy")

// stalling is a body that stops half-way for a while.
type stalling struct {
	rest   [][]byte
	stall  func()
	broken bool // the rest never comes
}

func (s *stalling) Read(b []byte) (int, error) {
	for len(s.rest) > 0 && len(s.rest[0]) == 0 {
		s.rest = s.rest[1:]
		if len(s.rest) == 1 {
			if s.stall(); s.broken {
				return 0, errBroken
			}
		}
	}
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.rest[0])
	s.rest[0] = s.rest[0][n:]
	return n, nil
}

func (p *Proxy) stallPut(w http.ResponseWriter, r *http.Request, body []byte, delay time.Duration) {
	half := len(body) / 2
	a, err := p.forward(r, len(body), &stalling{
		rest:   [][]byte{body[:half], body[half:]},
		broken: p.intN(2) == 0,
		stall: func() {
			p.fire(StalledPut)
			p.sleep(context.Background(), delay)
		},
	})
	if err != nil {
		reset(w)
		return
	}
	a.write(w, len(a.body))
}

// refuse answers with an error as S3 writes it.
func refuse(w http.ResponseWriter, status int, code string) {
	var body bytes.Buffer
	fmt.Fprintf(&body, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>said the fault proxy</Message></Error>`, code)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// reset ends the client's connection with a TCP reset. It must be the last call
// for a request.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // an answer has begun: the server closes the connection
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
