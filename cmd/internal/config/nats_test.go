package config_test

import (
	"reflect"
	"testing"

	"github.com/varvelog/varve/cmd/internal/config"
)

func TestNATSForms(t *testing.T) {
	for text, want := range map[string]config.NATS{
		"embedded":                    {Embedded: true},
		"embedded://127.0.0.1:4222":   {Embedded: true, Listen: "127.0.0.1:4222"},
		"nats://a:4222":               {Servers: []string{"nats://a:4222"}},
		"nats://a:4222,nats://b:4222": {Servers: []string{"nats://a:4222", "nats://b:4222"}},
		"nats://a:4222, b:4222":       {Servers: []string{"nats://a:4222", "nats://b:4222"}},
		"tls://a:4222,tls://b:4222":   {Servers: []string{"tls://a:4222", "tls://b:4222"}},
	} {
		if got := (sources{flags: []string{"--nats", text}}).mustLoad(t).Serve.NATS; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}
