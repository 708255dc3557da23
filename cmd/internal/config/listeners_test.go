package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/config"
)

func TestListenersHaveNames(t *testing.T) {
	for _, tc := range []struct {
		flags []string
		want  []config.Listener
		inter string
	}{
		{[]string{"--listen=plaintext://127.0.0.1:1"}, []config.Listener{{Name: "PLAINTEXT", Address: "127.0.0.1:1"}}, "PLAINTEXT"},
		{[]string{"--listen=Peers=[::1]:1", "--advertise=a:2"}, []config.Listener{{Name: "PEERS", Address: "[::1]:1", Advertise: "a:2"}}, "PEERS"},
		{
			[]string{"--listen=127.0.0.1:1, peers=PLAINTEXT://127.0.0.1:0", "--advertise=peers=a:2,b:3", "--inter-broker-listener=peers"},
			[]config.Listener{{Name: "PLAINTEXT", Address: "127.0.0.1:1", Advertise: "b:3"}, {Name: "PEERS", Address: "127.0.0.1:0", Advertise: "a:2"}}, "PEERS",
		},
	} {
		got := sources{flags: tc.flags}.mustLoad(t).Serve
		if !reflect.DeepEqual(got.Listeners, tc.want) || got.InterBroker != tc.inter {
			t.Errorf("%v: got %+v, %s between nodes, want %+v, %s", tc.flags, got.Listeners, got.InterBroker, tc.want, tc.inter)
		}
	}
}

func TestBadListenersSayWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		flags string // separated by blanks
		want  string
	}{
		{"--listen=127.0.0.1", "host:port"},
		{"--listen=127.0.0.1:http", "not a port"},
		{"--listen=127.0.0.1:65536", "not a port"},
		{"--listen=10.0.0.1:9092", "--insecure-listen"},
		{"--listen=example.net:9092", "--insecure-listen"},
		{"--listen=:9092", "--insecure-listen"},
		{"--listen=:9092 --insecure-listen", "--advertise"},
		{"--listen=0.0.0.0:9092 --insecure-listen", "--advertise"},
		{"--listen=[::]:9092 --insecure-listen", "--advertise"},
		{"--listen=127.0.0.1:1,in=10.0.0.1:2", "--insecure-listen"},
		{"--listen=10.0.0.1:1,in=0.0.0.0:2 --insecure-listen --advertise=a:1", "--advertise"},
		{"--listen=127.0.0.1:1,127.0.0.1:2", "two listeners are called PLAINTEXT"},
		{"--listen=in=127.0.0.1:1,IN=127.0.0.1:2", "two listeners are called IN"},
		{"--listen=in=127.0.0.1:1,out=127.0.0.1:1", "--listen as well"},
		{"--listen=in+side=127.0.0.1:1", "is no name of a listener"},
		{"--listen==127.0.0.1:1", "is no name of a listener"},
		{"--listen=ssl://127.0.0.1:1", "no ssl listeners"},
		{"--listen=127.0.0.1:1,", "host:port"},
		{"--advertise=out=a:1", "name one of PLAINTEXT"},
		{"--advertise=a:1,b:2", "has two addresses"},
		{"--inter-broker-listener=out", "name one of PLAINTEXT"},
		{"--advertise=0.0.0.0:9092", "cannot connect"},
		{"--advertise=host:0", "cannot connect"},
		{"--advertise=host", "host:port"},
	} {
		refuses(t, tc.flags, tc.want)
	}
}

// refuses wants an error of one line that names the first flag, and has some words.
func refuses(t *testing.T, line, want string) {
	t.Run(line, func(t *testing.T) {
		flags := strings.Split(line, " ")
		_, err := sources{flags: flags}.load(t)
		if err == nil {
			t.Fatal("accepted")
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(flags[0], "--"), "=")
		message := err.Error()
		if !strings.Contains(message, want) || !strings.HasPrefix(message, name+"=") ||
			!strings.Contains(message, "(flag --"+name+")") || strings.Contains(message, "\n") || strings.Contains(message, "secret") {
			t.Fatalf("got %q, want one line on %s with %q", message, name, want)
		}
	})
}
