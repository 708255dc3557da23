package kafka

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// api is one API key as this server speaks it.
type api struct {
	key      kmsg.Key
	min, max int16 // the versions advertised; all of them can be read
	maxFrame int32 // bytes; 0 is the server's limit
	bulky    bool  // the answer may be far larger than the request
	request  shape // what a request looks like, to be charged before it is decoded
	// begin starts a request. It is called in arrival order and must see to it
	// that the request is answered once, by itself or later. What may block for
	// longer than back-pressure asks runs in a goroutine of the connection.
	begin func(s *Server, ctx context.Context, r *request)

	answers atomic.Int64 // bytes of an answer of late, a large one, if bulky
}

// note notes how large an answer was.
func (a *api) note(size int) {
	if !a.bulky {
		return
	}
	before, now := a.answers.Load(), int64(size)
	if now < before {
		now = before - (before-now)/1024
	}
	a.answers.Store(now)
}

// apis holds what the files of the API keys registered.
var apis = map[int16]*api{}

// plainFrame is the frame limit of requests that do not grow with topics, partitions or members.
const plainFrame = 1 << 20

func register(a *api) {
	if apis[a.key.Int16()] != nil {
		panic(fmt.Sprintf("API key %d registered twice", a.key))
	}
	apis[a.key.Int16()] = a
}

func (a *api) supports(version int16) bool { return a.min <= version && version <= a.max }

func (a *api) frameLimit(limit int32) int32 {
	if a.maxFrame == 0 {
		return limit
	}
	return min(a.maxFrame, limit)
}

func (a *api) isApiVersions() bool { return a.key == kmsg.ApiVersions }
