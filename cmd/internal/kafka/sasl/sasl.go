package sasl

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"

	xdg "github.com/xdg-go/scram"
	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/metadata/scram"
)

// Plain is the mechanism that sends the password as it is.
const Plain = "PLAIN"

// Mechanisms lists the names of all mechanisms, the best first.
func Mechanisms() (all []string) {
	for _, m := range scram.Mechanisms {
		all = append(all, m.String())
	}
	return append(all, Plain)
}

// Errors of an exchange.
var (
	// ErrFailed: the client is not the user that it says. The text is for the log alone.
	ErrFailed = errors.New("authentication failed")
	// ErrMechanism: the mechanism is not known, or not enabled.
	ErrMechanism = errors.New("SASL mechanism is not enabled")
)

// Directory has the credentials of users. It is called concurrently.
type Directory func(user string, m scram.Mechanism) (scram.Credential, bool)

// Server begins exchanges. It is used by several goroutines.
type Server struct {
	enabled []string
	users   Directory
	secret  []byte
	work    *semaphore.Weighted // passwords that are hashed at once
}

// NewServer returns a Server with some of Mechanisms. The secret makes up the salts of users
// who do not exist. Nodes with the same secret make up the same ones.
func NewServer(enabled []string, users Directory, secret []byte) (*Server, error) {
	for _, name := range enabled {
		if !slices.Contains(Mechanisms(), name) {
			return nil, fmt.Errorf("%w: there is no %.100q, there are %v", ErrMechanism, name, Mechanisms())
		}
	}
	if len(secret) < sha256.Size {
		return nil, fmt.Errorf("a secret of %d bytes, want %d", len(secret), sha256.Size)
	}
	return &Server{slices.Clone(enabled), users, bytes.Clone(secret), semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))}, nil
}

// Enabled lists the mechanisms that clients may use.
func (s *Server) Enabled() []string { return s.enabled }

// Exchange is one authentication under way. It is owned by one connection.
type Exchange interface {
	// Step takes a message of the client and returns the answer. The exchange is over when
	// it returns done or an error, which wraps ErrFailed. Step is not called again then.
	Step(ctx context.Context, message []byte) (answer []byte, done bool, err error)
	// User is the name of the user, once the exchange is done.
	User() string
	// Exists reports whether the user still exists with the credential that he has shown.
	Exists() bool
}

// Begin begins an exchange.
func (s *Server) Begin(mechanism string) (Exchange, error) {
	if !slices.Contains(s.enabled, mechanism) {
		return nil, fmt.Errorf("%w: %.100q, enabled are %v", ErrMechanism, mechanism, s.enabled)
	}
	if mechanism == Plain {
		return &plain{claim{server: s}}, nil
	}
	m, err := scram.Parse(mechanism)
	if err != nil {
		return nil, err
	}
	return s.newSCRAM(m)
}

// credential returns the credential of a user, or one that no password fits to, and which
// looks like those of the tools.
func (s *Server) credential(user string, m scram.Mechanism) (c scram.Credential, exists bool) {
	if c, ok := s.users(user, m); ok {
		return c, true
	}
	made := func(what string) []byte {
		mac := hmac.New(m.New(), s.secret)
		fmt.Fprintf(mac, "%v %s of %s", m, what, user)
		return mac.Sum(nil)
	}
	return scram.Credential{
		Mechanism: m, Iterations: scram.MinIterations, Salt: made("salt")[:scram.SaltSize], StoredKey: made("stored key"), ServerKey: made("server key"),
	}, false
}

// claim is the user that a client says it is, with the credential that it shows.
type claim struct {
	server    *Server
	user      string
	mechanism scram.Mechanism
}

func (c *claim) User() string { return c.user }

func (c *claim) Exists() bool {
	_, ok := c.server.users(c.user, c.mechanism)
	return ok
}

// plain is an exchange of RFC 4616.
type plain struct{ claim }

func (p *plain) Step(ctx context.Context, message []byte) ([]byte, bool, error) {
	parts := bytes.Split(message, []byte{0})
	if len(parts) != 3 {
		return nil, false, fmt.Errorf("%w: a message of PLAIN has three parts, this one %d", ErrFailed, len(parts))
	}
	as, user, password := string(parts[0]), string(parts[1]), string(parts[2])
	if as != "" && as != user {
		return nil, false, fmt.Errorf("%w: user %.100q asks to be %.100q", ErrFailed, user, as)
	}
	if err := p.server.work.Acquire(ctx, 1); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	defer p.server.work.Release(1)
	p.user, p.mechanism = user, p.server.shown(user)
	c, exists := p.server.credential(user, p.mechanism)
	if fits := c.Fits(password); !fits || !exists {
		return nil, false, fmt.Errorf("%w: another password than that of user %.100q, or no such user", ErrFailed, user)
	}
	return nil, true, nil
}

// shown is a mechanism for which the user has a credential, if there is one.
func (s *Server) shown(user string) scram.Mechanism {
	for _, m := range scram.Mechanisms {
		if _, ok := s.users(user, m); ok {
			return m
		}
	}
	return scram.Mechanisms[0]
}

// salted is an exchange of RFC 5802.
type salted struct {
	claim
	exists bool
	talk   *xdg.ServerConversation
}

func (s *Server) newSCRAM(m scram.Mechanism) (Exchange, error) {
	e := &salted{claim: claim{server: s, mechanism: m}}
	talks, err := xdg.HashGeneratorFcn(m.New()).NewServer(e.lookup)
	if err != nil {
		return nil, fmt.Errorf("begin an exchange of %v: %w", m, err)
	}
	e.talk = talks.NewConversation()
	return e, nil
}

func (e *salted) lookup(user string) (xdg.StoredCredentials, error) {
	c, exists := e.server.credential(user, e.mechanism)
	e.user, e.exists = user, exists
	return xdg.StoredCredentials{
		KeyFactors: xdg.KeyFactors{Salt: string(c.Salt), Iters: int(c.Iterations)}, StoredKey: c.StoredKey, ServerKey: c.ServerKey,
	}, nil
}

func (e *salted) Step(_ context.Context, message []byte) ([]byte, bool, error) {
	answer, err := e.talk.Step(string(message))
	switch as := e.talk.AuthzID(); {
	case err != nil:
		return nil, false, fmt.Errorf("%w: user %.100q: %w", ErrFailed, e.talk.Username(), err)
	case as != "" && as != e.talk.Username():
		return nil, false, fmt.Errorf("%w: user %.100q asks to be %.100q", ErrFailed, e.talk.Username(), as)
	case !e.talk.Done():
		return []byte(answer), false, nil
	case !e.talk.Valid() || !e.exists:
		return nil, false, fmt.Errorf("%w: user %.100q", ErrFailed, e.talk.Username())
	}
	return []byte(answer), true, nil
}
