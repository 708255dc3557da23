package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"strings"
	"unicode/utf8"
)

// Mechanism is a hash with which SCRAM works. The numbers are those of KIP-554, and are
// stored.
type Mechanism uint8

// The mechanisms.
const (
	SHA256 Mechanism = 1
	SHA512 Mechanism = 2
)

// Mechanisms lists the mechanisms, the stronger one first.
var Mechanisms = []Mechanism{SHA512, SHA256}

func (m Mechanism) String() string {
	switch m {
	case SHA256:
		return "SCRAM-SHA-256"
	case SHA512:
		return "SCRAM-SHA-512"
	}
	return fmt.Sprintf("SCRAM mechanism %d", uint8(m))
}

// Parse returns the mechanism of a name as SASL has it.
func Parse(name string) (Mechanism, error) {
	for _, m := range Mechanisms {
		if strings.EqualFold(name, m.String()) {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%w: there is no mechanism %.100q, there are %v", ErrInvalid, name, Mechanisms)
}

// New returns the hash.
func (m Mechanism) New() func() hash.Hash {
	if m == SHA512 {
		return sha512.New
	}
	return sha256.New
}

// size is that of a key, in bytes; 0 of a mechanism that does not exist.
func (m Mechanism) size() int {
	switch m {
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	}
	return 0
}

// Limits. Kafka has the same for iterations.
const (
	MinIterations = 4096
	MaxIterations = 16384
	MaxSalt       = 255 // bytes
	SaltSize      = 24  // bytes of those that varve draws
	MaxUser       = 255 // bytes of a name
	MaxPassword   = 1024
)

// ErrInvalid: a credential that no password fits to, or one that is too weak.
var ErrInvalid = errors.New("invalid SCRAM credential")

// Credential is kept in place of a password.
type Credential struct {
	Mechanism  Mechanism
	Iterations uint32
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte
}

// Check returns why a credential is not valid. The error wraps ErrInvalid.
func (c *Credential) Check() error {
	size := c.Mechanism.size()
	switch {
	case size == 0:
		return fmt.Errorf("%w: %v", ErrInvalid, c.Mechanism)
	case c.Iterations < MinIterations || c.Iterations > MaxIterations:
		return fmt.Errorf("%w: %d iterations, want %d to %d", ErrInvalid, c.Iterations, MinIterations, MaxIterations)
	case len(c.Salt) == 0 || len(c.Salt) > MaxSalt:
		return fmt.Errorf("%w: a salt of %d bytes, want 1 to %d", ErrInvalid, len(c.Salt), MaxSalt)
	case len(c.StoredKey) != size || len(c.ServerKey) != size:
		return fmt.Errorf("%w: keys of %d and %d bytes, %v has %d", ErrInvalid, len(c.StoredKey), len(c.ServerKey), c.Mechanism, size)
	}
	return nil
}

// CheckUser returns why a name is not that of a user. The error wraps ErrInvalid.
func CheckUser(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the name of the user is empty", ErrInvalid)
	case len(name) > MaxUser:
		return fmt.Errorf("%w: the name of the user has %d bytes, the limit is %d", ErrInvalid, len(name), MaxUser)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: the name of the user has control characters, or is not UTF-8", ErrInvalid)
	}
	return nil
}

// FromPassword returns the credential for a password, with a random salt.
func FromPassword(m Mechanism, password string, salt []byte, iterations uint32) (Credential, error) {
	if password == "" || len(password) > MaxPassword {
		return Credential{}, fmt.Errorf("%w: a password of %d bytes, want 1 to %d", ErrInvalid, len(password), MaxPassword)
	}
	if err := (&Credential{m, iterations, salt, make([]byte, m.size()), make([]byte, m.size())}).Check(); err != nil {
		return Credential{}, err
	}
	salted, err := m.salted(password, salt, iterations)
	if err != nil {
		return Credential{}, err
	}
	return FromSalted(m, salted, salt, iterations)
}

// FromSalted returns the credential for a salted password, which a client of KIP-554 sends.
func FromSalted(m Mechanism, salted, salt []byte, iterations uint32) (Credential, error) {
	if size := m.size(); size == 0 || len(salted) != size {
		return Credential{}, fmt.Errorf("%w: a salted password of %d bytes, %v has %d", ErrInvalid, len(salted), m, size)
	}
	stored := m.New()()
	stored.Write(m.mac(salted, "Client Key"))
	c := Credential{Mechanism: m, Iterations: iterations, Salt: salt, StoredKey: stored.Sum(nil), ServerKey: m.mac(salted, "Server Key")}
	return c, c.Check()
}

func (m Mechanism) salted(password string, salt []byte, iterations uint32) ([]byte, error) {
	b, err := pbkdf2.Key(m.New(), password, salt, int(iterations), m.size())
	if err != nil {
		return nil, fmt.Errorf("salt a password: %w", err)
	}
	return b, nil
}

func (m Mechanism) mac(key []byte, text string) []byte {
	h := hmac.New(m.New(), key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// Fits reports whether a password is the one of the credential. It takes as long for one
// that is not.
func (c *Credential) Fits(password string) bool {
	if len(password) > MaxPassword {
		return false
	}
	salted, err := c.Mechanism.salted(password, c.Salt, c.Iterations)
	if err != nil {
		return false
	}
	got, err := FromSalted(c.Mechanism, salted, c.Salt, c.Iterations)
	return err == nil && hmac.Equal(got.StoredKey, c.StoredKey)
}
