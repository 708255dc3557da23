package sasl_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	xdg "github.com/xdg-go/scram"

	"github.com/varvelog/varve/cmd/internal/kafka/sasl"
	"github.com/varvelog/varve/metadata/scram"
)

// users is a directory with passwords.
type users map[string]string

func (u users) find(t testing.TB) sasl.Directory {
	return func(user string, m scram.Mechanism) (scram.Credential, bool) {
		password, ok := u[user]
		if !ok {
			return scram.Credential{}, false
		}
		c, err := scram.FromPassword(m, password, []byte("salt of "+user), scram.MinIterations)
		if err != nil {
			t.Error(err)
		}
		return c, true
	}
}

var secret = bytes.Repeat([]byte{7}, 32)

func newServer(t testing.TB, u users, enabled ...string) *sasl.Server {
	t.Helper()
	if enabled == nil {
		enabled = sasl.Mechanisms()
	}
	s, err := sasl.NewServer(enabled, u.find(t), secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t testing.TB, s *sasl.Server, mechanism string) sasl.Exchange {
	t.Helper()
	e, err := s.Begin(mechanism)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// client runs an exchange of SCRAM, and returns the first answer.
func client(t testing.TB, s *sasl.Server, m scram.Mechanism, user, password, as string) (first string, e sasl.Exchange, err error) {
	t.Helper()
	hash := xdg.SHA256
	if m == scram.SHA512 {
		hash = xdg.SHA512
	}
	c, err := hash.NewClient(user, password, as)
	if err != nil {
		t.Fatal(err)
	}
	talk := c.NewConversation()
	e = begin(t, s, m.String())
	in, done := "", false
	for !talk.Done() {
		out, err := talk.Step(in)
		if err != nil {
			t.Fatalf("the client refuses %q: %v", in, err)
		}
		if done {
			break
		}
		var b []byte
		if b, done, err = e.Step(t.Context(), []byte(out)); err != nil {
			return first, e, err
		}
		if in = string(b); first == "" {
			first = in
		}
	}
	if !talk.Valid() {
		t.Error("the server did not prove itself")
	}
	return first, e, nil
}

func TestOnlyTheUserWithThePasswordGetsIn(t *testing.T) {
	u := users{"alice": "geheim", "bob=,": "Ünïcode"}
	s := newServer(t, u)
	for _, m := range scram.Mechanisms {
		for user, password := range u {
			if _, e, err := client(t, s, m, user, password, ""); err != nil || e.User() != user || !e.Exists() {
				t.Errorf("%v: %s: %v", m, user, err)
			}
			if _, _, err := client(t, s, m, user, password+"x", ""); !errors.Is(err, sasl.ErrFailed) {
				t.Errorf("%v: %s with another password: %v", m, user, err)
			}
		}
		if _, _, err := client(t, s, m, "carol", "geheim", ""); !errors.Is(err, sasl.ErrFailed) {
			t.Errorf("%v: a user who does not exist: %v", m, err)
		}
		if _, _, err := client(t, s, m, "alice", "geheim", "bob"); !errors.Is(err, sasl.ErrFailed) {
			t.Errorf("%v: as another user: %v", m, err)
		}
		if _, _, err := client(t, s, m, "alice", "geheim", "alice"); err != nil {
			t.Errorf("%v: as himself: %v", m, err)
		}
	}
}

func TestPlainTakesThreeParts(t *testing.T) {
	u := users{"alice": "geheim"}
	s := newServer(t, u)
	for message, in := range map[string]bool{
		"\x00alice\x00geheim": true, "alice\x00alice\x00geheim": true,
		"": false, "alice": false, "\x00alice\x00": false, "\x00\x00": false, "\x00alice\x00geheim\x00": false, "bob\x00alice\x00geheim": false,
		"\x00alice\x00Geheim": false, "\x00bob\x00geheim": false, "\x00alice\x00" + strings.Repeat("x", 70_000): false,
	} {
		e := begin(t, s, sasl.Plain)
		_, done, err := e.Step(t.Context(), []byte(message))
		if in != (err == nil) || done != in || in && (e.User() != "alice" || !e.Exists()) || !in && !errors.Is(err, sasl.ErrFailed) {
			t.Errorf("%.40q: done %t, %v", message, done, err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, done, err := begin(t, s, sasl.Plain).Step(ended, []byte("\x00alice\x00x")); done || !errors.Is(err, sasl.ErrFailed) {
		t.Errorf("for a client that is gone: %t, %v", done, err)
	}
}

// A user who does not exist is answered as one who does: with a salt that stays the same, and
// is another one for each.
func TestAnswersDoNotShowWhoExists(t *testing.T) {
	s, again := newServer(t, users{"alice": "geheim"}), newServer(t, nil)
	salt := func(s *sasl.Server, user string) string {
		first, _, err := client(t, s, scram.SHA256, user, "x", "")
		if !errors.Is(err, sasl.ErrFailed) {
			t.Fatal(err)
		}
		parts := strings.Split(first, ",")
		if len(parts) != 3 || parts[2] != "i=4096" {
			t.Fatalf("the answer is %q", first)
		}
		return parts[1]
	}
	if salt(s, "carol") != salt(again, "carol") || salt(s, "carol") == salt(s, "dave") {
		t.Error("salts of users who do not exist change, or are all the same")
	}
}

// The exchange of RFC 7677, section 3, is repeated, by a server with another nonce.
func TestAReplayedProofDoesNotFit(t *testing.T) {
	s := newServer(t, users{"user": "pencil"})
	e := begin(t, s, "SCRAM-SHA-256")
	first, done, err := e.Step(t.Context(), []byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	if err != nil || done || !strings.HasPrefix(string(first), "r=rOprNGfwEbeRWgbNEkqO") {
		t.Fatalf("%q, %t, %v", first, done, err)
	}
	for _, last := range []string{
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=biws," + strings.Split(string(first), ",")[0] + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"", "n,,n=user,r=x", strings.Repeat("p=", 30_000),
	} {
		e := begin(t, s, "SCRAM-SHA-256")
		if _, _, err := e.Step(t.Context(), []byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")); err != nil {
			t.Fatal(err)
		}
		if _, done, err := e.Step(t.Context(), []byte(last)); done || !errors.Is(err, sasl.ErrFailed) {
			t.Errorf("%.60q: %t, %v", last, done, err)
		}
	}
	if _, done, err := begin(t, s, "SCRAM-SHA-256").Step(t.Context(), []byte("p=tls-unique,,n=user,r=x")); done || !errors.Is(err, sasl.ErrFailed) {
		t.Errorf("with a channel that is not bound: %t, %v", done, err)
	}
}

func TestOnlyEnabledMechanismsBegin(t *testing.T) {
	s := newServer(t, nil, "SCRAM-SHA-512")
	for _, name := range []string{"PLAIN", "SCRAM-SHA-256", "scram-sha-512", "GSSAPI", "", strings.Repeat("x", 1000)} {
		if _, err := s.Begin(name); !errors.Is(err, sasl.ErrMechanism) {
			t.Errorf("%.20q begins: %v", name, err)
		}
	}
	if _, err := sasl.NewServer([]string{"GSSAPI"}, nil, secret); !errors.Is(err, sasl.ErrMechanism) {
		t.Errorf("GSSAPI can be enabled: %v", err)
	}
	if _, err := sasl.NewServer(nil, nil, nil); err == nil {
		t.Error("a server without a secret")
	}
}

func FuzzSteps(f *testing.F) {
	f.Add(0, []byte("\x00alice\x00geheim"), []byte(nil))
	f.Add(1, []byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), []byte("c=biws,r=x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	f.Add(2, []byte("n,a=user,n=user,r=x,ext=1"), []byte("c=biws,r=x"))
	s := newServer(f, users{"user": "pencil"})
	f.Fuzz(func(t *testing.T, which int, first, second []byte) {
		e, err := s.Begin(sasl.Mechanisms()[uint(which)%3])
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range [][]byte{first, second} {
			_, done, err := e.Step(t.Context(), message)
			if err != nil && !errors.Is(err, sasl.ErrFailed) {
				t.Fatalf("error of no kind: %v", err)
			}
			if done && !bytes.Contains(first, []byte("pencil")) {
				t.Fatalf("in with %q and %q", first, second)
			}
			if done || err != nil {
				return
			}
		}
	})
}
