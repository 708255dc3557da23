package faultproxy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

// Kind names a fault.
type Kind string

// The faults. Those of PUT strike only PUTs, those of GET strike only a GET of
// an object that the store has answered with its content.
const (
	// Unavailable answers 503 SlowDown, and the store sees nothing.
	Unavailable Kind = "503"
	// Latency holds the request for Delay, then passes it on.
	Latency Kind = "latency"
	// Reset resets the client's connection, and the store sees nothing.
	Reset Kind = "reset"
	// BlackHole answers nothing for Delay, then resets the client's connection;
	// the store sees nothing.
	BlackHole Kind = "black-hole"
	// ReplyLost passes the request on, and resets the client's connection
	// instead of answering.
	ReplyLost Kind = "reply-lost"
	// StalledPut sends half of the body and waits for Delay; then it sends the
	// rest, or breaks the connection to the store.
	StalledPut Kind = "stalled-put"
	// LateArrival resets the client's connection, and passes the PUT, or the
	// deletion, on after Delay.
	LateArrival Kind = "late-arrival"
	// FalseConflict answers a PUT with 409 ConditionalRequestConflict, and the
	// store sees nothing.
	FalseConflict Kind = "false-409"
	// ErrorIn200 answers a PUT, or a batch of deletes, with status 200 and an error in its body, and the
	// store sees nothing.
	ErrorIn200 Kind = "200-with-error"
	// StalledGet sends half of the answer's body and the rest after Delay.
	StalledGet Kind = "stalled-get"
	// TruncatedGet sends half of the answer's body and ends the connection.
	TruncatedGet Kind = "truncated-get"
	// FlippedGet changes one bit of the answer's body.
	FlippedGet Kind = "flipped-get"
	// Missing answers 404 NoSuchKey for an object that exists. No store with
	// read-after-write consistency does that.
	Missing Kind = "missing"
)

// Kinds are all faults but Missing, which needs readers that expect it.
var Kinds = []Kind{
	Unavailable, Latency, Reset, BlackHole, ReplyLost, StalledPut, LateArrival,
	FalseConflict, ErrorIn200, StalledGet, TruncatedGet, FlippedGet,
}

// Fault is a fault that strikes some requests.
type Fault struct {
	Kind  Kind
	Rate  float64       // of the requests it can strike, 0 to 1
	Delay time.Duration // for the kinds that have one
	// P99 makes the delays of Latency differ from each other as those of a
	// store do. Delay is then their median, P99 their 99th percentile, and they
	// are distributed log-normally.
	P99 time.Duration
	// Path limits the fault to requests whose path has it; empty: all.
	Path string
}

func (f Fault) String() string {
	text := fmt.Sprintf("%s %.0f %%", f.Kind, 100*f.Rate)
	if f.Delay > 0 {
		text += fmt.Sprintf(" of %v", f.Delay)
	}
	return text
}

// Random draws a fault of a kind, sometimes mild and sometimes total.
func Random(kind Kind, random *rand.Rand) Fault {
	f := Fault{Kind: kind, Rate: []float64{0.1, 0.5, 1}[random.IntN(3)]}
	switch kind {
	case Latency:
		f.Delay = between(random, 100*time.Millisecond, 10*time.Second)
	case BlackHole:
		f.Delay = between(random, time.Second, 30*time.Second)
	case StalledPut, StalledGet:
		f.Delay = between(random, time.Second, 40*time.Second)
		f.Rate = []float64{0.05, 0.2, 0.5}[random.IntN(3)]
	case LateArrival:
		f.Delay = between(random, time.Second, time.Minute)
	case FlippedGet, TruncatedGet:
		f.Rate = []float64{0.05, 0.2, 0.5}[random.IntN(3)]
	case Missing:
		f.Rate = 0.05
	}
	return f
}

// latency draws the delay of one request.
func (f Fault) latency(random *rand.Rand) time.Duration {
	if f.P99 <= f.Delay || f.Delay <= 0 {
		return f.Delay
	}
	const z99 = 2.326 // standard deviations from the median to the 99th percentile
	sigma := math.Log(float64(f.P99)/float64(f.Delay)) / z99
	return time.Duration(float64(f.Delay) * math.Exp(sigma*random.NormFloat64()))
}

// between draws a duration with an even distribution of its logarithm.
func between(random *rand.Rand, low, high time.Duration) time.Duration {
	d := float64(low) * math.Exp(random.Float64()*math.Log(float64(high)/float64(low)))
	return time.Duration(d).Round(time.Millisecond)
}

// strikes reports whether the fault can strike a request at all.
func (k Kind) strikes(r *http.Request) bool {
	deletes := r.Method == http.MethodDelete || r.Method == http.MethodPost && r.URL.Query().Has("delete")
	switch k {
	case StalledPut, FalseConflict:
		return r.Method == http.MethodPut
	case LateArrival:
		return r.Method == http.MethodPut || deletes
	case ErrorIn200:
		return r.Method == http.MethodPut || deletes && r.Method == http.MethodPost
	case StalledGet, TruncatedGet, FlippedGet, Missing:
		query := r.URL.Query()
		return r.Method == http.MethodGet && !query.Has("list-type") && !query.Has("location")
	}
	return true
}
