package scram_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/metadata/scram"
)

// The keys that follow from the examples of RFC 7677 (SHA-256), section 3. The proofs on its
// wire are checked where SASL is spoken.
func TestKeysOfTheExampleOfRFC7677(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	c, err := scram.FromPassword(scram.SHA256, "pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	const stored, server = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if got := base64.StdEncoding.EncodeToString(c.StoredKey); got != stored {
		t.Errorf("stored key %s, want %s", got, stored)
	}
	if got := base64.StdEncoding.EncodeToString(c.ServerKey); got != server {
		t.Errorf("server key %s, want %s", got, server)
	}
}

func TestOnlyThePasswordFits(t *testing.T) {
	for _, m := range scram.Mechanisms {
		c, err := scram.FromPassword(m, "geheim", []byte("salt"), scram.MinIterations)
		if err != nil {
			t.Fatal(err)
		}
		if !c.Fits("geheim") {
			t.Errorf("%v: the password does not fit", m)
		}
		for _, other := range []string{"", "Geheim", "geheim ", strings.Repeat("x", scram.MaxPassword+1), hex.EncodeToString(c.StoredKey), string(c.StoredKey)} {
			if c.Fits(other) {
				t.Errorf("%v: %.20q fits", m, other)
			}
		}
		if bytes.Contains(slices.Concat(c.Salt, c.StoredKey, c.ServerKey), []byte("geheim")) {
			t.Errorf("%v: the password is in the credential", m)
		}
	}
}

func TestWeakAndBrokenCredentialsAreRefused(t *testing.T) {
	good, err := scram.FromPassword(scram.SHA512, "p", []byte("salt"), scram.MaxIterations)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *scram.Credential){
		"no mechanism":      func(c *scram.Credential) { c.Mechanism = 0 },
		"another mechanism": func(c *scram.Credential) { c.Mechanism = 3 },
		"keys of another":   func(c *scram.Credential) { c.Mechanism = scram.SHA256 },
		"few iterations":    func(c *scram.Credential) { c.Iterations = scram.MinIterations - 1 },
		"many iterations":   func(c *scram.Credential) { c.Iterations = scram.MaxIterations + 1 },
		"no salt":           func(c *scram.Credential) { c.Salt = nil },
		"much salt":         func(c *scram.Credential) { c.Salt = make([]byte, scram.MaxSalt+1) },
		"a short key":       func(c *scram.Credential) { c.StoredKey = c.StoredKey[1:] },
		"no server key":     func(c *scram.Credential) { c.ServerKey = nil },
	} {
		c := good
		spoil(&c)
		if err := c.Check(); !errors.Is(err, scram.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, make := range map[string]func() (scram.Credential, error){
		"no password": func() (scram.Credential, error) { return scram.FromPassword(scram.SHA256, "", []byte("s"), 4096) },
		"endless password": func() (scram.Credential, error) {
			return scram.FromPassword(scram.SHA256, strings.Repeat("x", 1025), []byte("s"), 4096)
		},
		"few iterations":     func() (scram.Credential, error) { return scram.FromPassword(scram.SHA256, "x", []byte("s"), 1) },
		"endless iterations": func() (scram.Credential, error) { return scram.FromPassword(scram.SHA256, "x", []byte("s"), 1<<32-1) },
		"a short hash": func() (scram.Credential, error) {
			return scram.FromSalted(scram.SHA256, []byte("x"), []byte("s"), 4096)
		},
		"of no mechanism": func() (scram.Credential, error) { return scram.FromSalted(9, nil, []byte("s"), 4096) },
	} {
		if _, err := make(); !errors.Is(err, scram.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 256), "a\nb", "a\x00", "\xff"} {
		if err := scram.CheckUser(name); !errors.Is(err, scram.ErrInvalid) {
			t.Errorf("user %.20q: %v", name, err)
		}
	}
	if err := errors.Join(scram.CheckUser("ä=,b"), scram.CheckUser(strings.Repeat("x", 255))); err != nil {
		t.Error(err)
	}
	if m, err := scram.Parse("scram-sha-256"); m != scram.SHA256 || err != nil {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := scram.Parse("PLAIN"); !errors.Is(err, scram.ErrInvalid) {
		t.Error(err)
	}
}
