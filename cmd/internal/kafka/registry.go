package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// registered is an API key and its handler, as the file of the key registers it.
type registered struct {
	listener.API
	begin func(s *Server, ctx context.Context, r *listener.Request)
}

var registrations []registered

func register(api listener.API, begin func(s *Server, ctx context.Context, r *listener.Request)) {
	registrations = append(registrations, registered{API: api, begin: begin})
}

// apis returns all keys with handlers of s.
func (s *Server) apis() []listener.API {
	out := make([]listener.API, len(registrations))
	for i, a := range registrations {
		out[i] = a.API
		out[i].Begin = func(ctx context.Context, r *listener.Request) { a.begin(s, ctx, r) }
	}
	return out
}

// The words that shapes of requests are written in.
type shape = listener.Shape

var (
	num, str, raw, strs, ints, bytesOf = listener.Num, listener.Str, listener.Raw, listener.Strs, listener.Ints, listener.BytesOf
	listOf, structOf, optionalOf, tag  = listener.ListOf, listener.StructOf, listener.OptionalOf, listener.Tag
)
