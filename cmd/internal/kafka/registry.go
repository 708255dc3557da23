package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// api is one API key as this server speaks it.
type api struct {
	key      kmsg.Key
	min, max int16 // the versions advertised; all of them can be read
	maxFrame int32 // bytes; 0 is the server's limit
	request  shape // what a request looks like, to be charged before it is decoded
	// begin starts a request. It is called in arrival order and must see to it
	// that the request is answered once, by itself or later. What may block for
	// longer than back-pressure asks runs in a goroutine of the connection.
	begin func(s *Server, ctx context.Context, r *request)
}

// apis holds what the files of the API keys registered.
var apis = map[int16]*api{}

// Frame limits of requests that carry no records.
const (
	plainFrame = 1 << 20 // a few names and numbers
	listFrame  = 8 << 20 // a list of all partitions
)

func register(a api) {
	if apis[a.key.Int16()] != nil {
		panic(fmt.Sprintf("API key %d registered twice", a.key))
	}
	apis[a.key.Int16()] = &a
}

func (a *api) supports(version int16) bool { return a.min <= version && version <= a.max }

func (a *api) frameLimit(limit int32) int32 {
	if a.maxFrame == 0 {
		return limit
	}
	return min(a.maxFrame, limit)
}

func (a *api) isApiVersions() bool { return a.key == kmsg.ApiVersions }
