package listener

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// API is one API key as a server serves it.
type API struct {
	Key      kmsg.Key
	Name     string // of a key that kmsg does not know
	Min, Max int16  // the versions that are served
	MaxFrame int32  // bytes; 0 means the server's limit
	Bulky    bool   // the answer may be far larger than the request
	Shape    Shape  // the layout of a request: its memory is charged before it is decoded
	// Pooled frames lie in memory that is used again once the request is answered. The
	// handler must not use byte slices of the body after its answer, unless it retains
	// Request.Memory. Bodies of most requests have slices that their handlers keep for an
	// unknown time, such as the metadata of a member in JoinGroup. Only large and frequent
	// requests are worth the care.
	Pooled    bool
	Begin     Handler
	Private   bool // it is not advertised
	Forwarded bool // another node may send it inside a request of its own
	// BeforeAuthentication says that clients may send it before they have authenticated.
	BeforeAuthentication bool
	// Peers says that only nodes of this cluster may send it. Any other connection is closed
	// before the body is read.
	Peers bool
	// Request returns an empty request of a key that kmsg does not know; nil: it does.
	Request func() kmsg.Request
}

// Handler begins a request. The reader of the connection calls it in order of
// arrival. It makes sure that the request is answered once, at once or later.
// Work that may block for longer than back-pressure needs runs in Request.Go.
type Handler func(ctx context.Context, r *Request)

// PlainFrame is the frame limit of requests that do not grow with topics, partitions or members.
const PlainFrame = 1 << 20

// request returns an empty request.
func (a *API) request() kmsg.Request {
	if a.Request != nil {
		return a.Request()
	}
	return a.Key.Request()
}

// name is the name of the key in logs and metrics.
func (a *API) name() string {
	if a.Name != "" {
		return a.Name
	}
	return a.Key.Name()
}

// Supports reports whether a version is served.
func (a *API) Supports(version int16) bool { return a.Min <= version && version <= a.Max }

func (a *API) frameLimit(limit int32) int32 {
	if a.MaxFrame == 0 {
		return limit
	}
	return min(a.MaxFrame, limit)
}

func (a *API) isApiVersions() bool { return a.Key == kmsg.ApiVersions }

// api is an API with a server's observations of it.
type api struct {
	API
	answers atomic.Int64 // bytes of a large recent answer, if Bulky
}

// note notes the size of an answer.
func (a *api) note(size int) {
	if !a.Bulky {
		return
	}
	before, now := a.answers.Load(), int64(size)
	if now < before {
		now = before - (before-now)/1024
	}
	a.answers.Store(now)
}

// registry holds the APIs of a server by their keys.
type registry map[int16]*api

// find returns the API of a key in a version, or the reason why it is not served to a client.
func (r registry) find(key, version int16, to *Client) (*api, error) {
	a := r[key]
	switch {
	case a != nil && a.Peers && to.Peer == (Peer{}):
		return nil, fmt.Errorf("%w: %s", errNotPeer, a.name())
	case a == nil:
		return nil, fmt.Errorf("%w: %d (%s)", errUnknownKey, key, kmsg.NameForKey(key))
	case !a.Supports(version) && !a.isApiVersions():
		return nil, fmt.Errorf("%w: %s v%d, supported are %d to %d", errVersion, a.name(), version, a.Min, a.Max)
	}
	return a, nil
}

func newRegistry(apis []API) (registry, error) {
	r := make(registry, len(apis))
	for _, a := range apis {
		key := a.Key.Int16()
		switch {
		case r[key] != nil:
			return nil, fmt.Errorf("API key %d is registered twice", key)
		case a.Begin == nil:
			return nil, fmt.Errorf("API key %d has no handler", key)
		}
		r[key] = &api{API: a}
	}
	return r, nil
}
