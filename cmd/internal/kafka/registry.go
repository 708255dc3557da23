package kafka

import (
	"reflect"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// registered is an API key with a function that returns its handler, as the
// key's file registers it.
type registered struct {
	listener.API
	handler func(*services) listener.Handler
}

// registrations are those of all keys. Only init functions add to them.
var registrations []registered

func register(api listener.API, handler func(*services) listener.Handler) {
	registrations = append(registrations, registered{API: api, handler: handler})
}

// apis returns all keys with their handlers.
func (s *services) apis() []listener.API {
	out := make([]listener.API, len(registrations))
	for i, a := range registrations {
		out[i] = a.API
		out[i].Begin = a.handler(s)
		if a.Forwarded {
			out[i].Begin = s.orForward(out[i].Begin, a.handler(s.failed))
		}
	}
	return out
}

// The words that shapes of requests are written in.
type shape = listener.Shape

var (
	num, str, raw, strs, ints, bytesOf = listener.Num, listener.Str, listener.Raw, listener.Strs, listener.Ints, listener.BytesOf
	listOf, structOf, optionalOf, tag  = listener.ListOf, listener.StructOf, listener.OptionalOf, listener.Tag
)

// sizeOf is the size of a T in bytes.
func sizeOf[T any]() int { return int(reflect.TypeFor[T]().Size()) }
