package metadata

import (
	"errors"
	"fmt"
	"math"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/tiering/wire"
)

// Kinds of entries from LevelSecurity on.
const (
	EntryACLsAdded         uint16 = 16
	EntryACLsRemoved       uint16 = 17
	EntryUserSet           uint16 = 18
	EntryUserRemoved       uint16 = 19
	EntryAuthenticationSet uint16 = 20
	EntryQuotaSet          uint16 = 21
	EntryQuotaRemoved      uint16 = 22
)

// Payloads, big-endian, each after the version byte, which is 1:
//
//	ACLsAdded, ACLsRemoved
//	                  count u32, each: type u8 | pattern u8 | operation u8 | permission u8
//	                  | name len u16, bytes | principal len u16, bytes | host len u16, bytes
//	UserSet           name len u16, bytes | mechanism u8 | iterations u32 | salt len u16, bytes
//	                  | stored key len u16, bytes | server key len u16, bytes
//	UserRemoved       name len u16, bytes | mechanism u8
//	AuthenticationSet required u8
//	QuotaSet          quota | value u64 (IEEE 754)
//	QuotaRemoved      quota
//
// A quota is: user whose u8 | user len u16, bytes | client whose u8 | client len u16, bytes
// | name len u16, bytes.

// maxEntryACLs limits the rules of one entry.
const maxEntryACLs = 1000

// ACLsAdded adds rules that are not there.
type ACLsAdded struct{ Bindings []acl.Binding }

// ACLsRemoved removes rules that are there.
type ACLsRemoved struct{ Bindings []acl.Binding }

// UserSet gives a user a credential for a mechanism, in place of the one before.
type UserSet struct {
	Name string
	scram.Credential
}

// UserRemoved takes the credential for a mechanism from a user.
type UserRemoved struct {
	Name      string
	Mechanism scram.Mechanism
}

// AuthenticationSet says whether clients of this cluster have to authenticate.
type AuthenticationSet struct{ Required bool }

// QuotaSet sets a quota.
type QuotaSet struct {
	Quota
	Value float64
}

// QuotaRemoved removes a quota that is set.
type QuotaRemoved struct{ Quota }

// Quota is a limit for clients.
type Quota struct {
	User, Client Subject // one of them at least is Named or Default
	Name         string  // as Kafka has it, such as producer_byte_rate
}

// Subject is whom a quota is for, by one property of a client.
type Subject struct {
	Whose Whose
	Name  string // of Named
}

// Whose is the kind of a Subject.
type Whose uint8

// The kinds of subjects.
const (
	Anyone  Whose = 0 // the property does not matter
	Named   Whose = 1
	Default Whose = 2 // those without a quota of their own
)

// maxQuotaText limits a name in a quota, in bytes.
const maxQuotaText = 255

func (ACLsAdded) kind() uint16         { return EntryACLsAdded }
func (ACLsRemoved) kind() uint16       { return EntryACLsRemoved }
func (UserSet) kind() uint16           { return EntryUserSet }
func (UserRemoved) kind() uint16       { return EntryUserRemoved }
func (AuthenticationSet) kind() uint16 { return EntryAuthenticationSet }
func (QuotaSet) kind() uint16          { return EntryQuotaSet }
func (QuotaRemoved) kind() uint16      { return EntryQuotaRemoved }

func (ACLsAdded) version() uint8         { return payloadVersion }
func (ACLsRemoved) version() uint8       { return payloadVersion }
func (UserSet) version() uint8           { return payloadVersion }
func (UserRemoved) version() uint8       { return payloadVersion }
func (AuthenticationSet) version() uint8 { return payloadVersion }
func (QuotaSet) version() uint8          { return payloadVersion }
func (QuotaRemoved) version() uint8      { return payloadVersion }

func (c ACLsAdded) encode(w *wire.Writer)   { encodeACLs(w, c.Bindings) }
func (c ACLsRemoved) encode(w *wire.Writer) { encodeACLs(w, c.Bindings) }
func (c ACLsAdded) check() error            { return checkACLs(c.Bindings) }
func (c ACLsRemoved) check() error          { return checkACLs(c.Bindings) }

func encodeACLs(w *wire.Writer, all []acl.Binding) {
	w.U32(uint32(len(all)))
	for i := range all {
		encodeACL(w, &all[i])
	}
}

func encodeACL(w *wire.Writer, b *acl.Binding) {
	w.U8(uint8(b.Type))
	w.U8(uint8(b.Pattern))
	w.U8(uint8(b.Operation))
	w.U8(uint8(b.Permission))
	w.String16(b.Name)
	w.String16(b.Principal)
	w.String16(b.Host)
}

func checkACLs(all []acl.Binding) error {
	if len(all) < 1 || len(all) > maxEntryACLs {
		return fmt.Errorf("%d ACLs in an entry, want 1 to %d", len(all), maxEntryACLs)
	}
	for i := range all {
		if err := all[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

// minACL is the size of a rule without its texts.
const minACL = 10

func decodeACLs(r *wire.Reader) (all []acl.Binding) {
	for range r.Count(r.U32(), minACL) {
		all = append(all, decodeACL(r))
	}
	return all
}

func decodeACL(r *wire.Reader) acl.Binding {
	return acl.Binding{
		Type: acl.Type(r.U8()), Pattern: acl.Pattern(r.U8()), Operation: acl.Operation(r.U8()), Permission: acl.Permission(r.U8()),
		Name: r.String16(), Principal: r.String16(), Host: r.String16(),
	}
}

func decodeACLsAdded(r *wire.Reader) (Change, error)   { return ACLsAdded{decodeACLs(r)}, nil }
func decodeACLsRemoved(r *wire.Reader) (Change, error) { return ACLsRemoved{decodeACLs(r)}, nil }

func (c UserSet) encode(w *wire.Writer) {
	w.String16(c.Name)
	w.U8(uint8(c.Mechanism))
	w.U32(c.Iterations)
	for _, b := range [][]byte{c.Salt, c.StoredKey, c.ServerKey} {
		w.String16(string(b))
	}
}

func (c UserSet) check() error { return errors.Join(scram.CheckUser(c.Name), c.Credential.Check()) }

func decodeUserSet(r *wire.Reader) (Change, error) {
	c := UserSet{Name: r.String16(), Credential: scram.Credential{Mechanism: scram.Mechanism(r.U8()), Iterations: r.U32()}}
	c.Salt, c.StoredKey, c.ServerKey = []byte(r.String16()), []byte(r.String16()), []byte(r.String16())
	return c, nil
}

func (c UserRemoved) encode(w *wire.Writer) {
	w.String16(c.Name)
	w.U8(uint8(c.Mechanism))
}

func (c UserRemoved) check() error {
	if c.Mechanism != scram.SHA256 && c.Mechanism != scram.SHA512 {
		return fmt.Errorf("no credential is for %v", c.Mechanism)
	}
	return scram.CheckUser(c.Name)
}

func decodeUserRemoved(r *wire.Reader) (Change, error) {
	return UserRemoved{r.String16(), scram.Mechanism(r.U8())}, nil
}

func (c AuthenticationSet) encode(w *wire.Writer) { w.U8(boolByte(c.Required)) }
func (AuthenticationSet) check() error            { return nil }

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func decodeAuthenticationSet(r *wire.Reader) (Change, error) {
	required := r.U8()
	if required > 1 {
		return nil, fmt.Errorf("authentication is required: %d", required)
	}
	return AuthenticationSet{required == 1}, nil
}

func (q *Quota) encode(w *wire.Writer) {
	for _, s := range []Subject{q.User, q.Client} {
		w.U8(uint8(s.Whose))
		w.String16(s.Name)
	}
	w.String16(q.Name)
}

func (q *Quota) check() error {
	if q.User.Whose == Anyone && q.Client.Whose == Anyone {
		return errors.New("a quota without a user or a client id")
	}
	if q.Name == "" || len(q.Name) > maxQuotaText {
		return fmt.Errorf("a quota with a name of %d bytes, want 1 to %d", len(q.Name), maxQuotaText)
	}
	return errors.Join(q.User.check(), q.Client.check())
}

func (s Subject) check() error {
	switch {
	case s.Whose > Default:
		return fmt.Errorf("a quota of kind %d", s.Whose)
	case (s.Whose == Named) != (s.Name != "") || len(s.Name) > maxQuotaText:
		return fmt.Errorf("a quota of kind %d with a name of %d bytes", s.Whose, len(s.Name))
	}
	return nil
}

func decodeQuota(r *wire.Reader) Quota {
	return Quota{User: Subject{Whose(r.U8()), r.String16()}, Client: Subject{Whose(r.U8()), r.String16()}, Name: r.String16()}
}

func (c QuotaSet) encode(w *wire.Writer) {
	c.Quota.encode(w)
	w.U64(math.Float64bits(c.Value))
}

func (c QuotaSet) check() error {
	if math.IsNaN(c.Value) || math.IsInf(c.Value, 0) || c.Value < 0 || math.Signbit(c.Value) {
		return fmt.Errorf("quota %.100q is %v", c.Name, c.Value)
	}
	return c.Quota.check()
}

func decodeQuotaSet(r *wire.Reader) (Change, error) {
	return QuotaSet{decodeQuota(r), math.Float64frombits(r.U64())}, nil
}

func (c QuotaRemoved) encode(w *wire.Writer) { c.Quota.encode(w) }
func (c QuotaRemoved) check() error          { return c.Quota.check() }

func decodeQuotaRemoved(r *wire.Reader) (Change, error) { return QuotaRemoved{decodeQuota(r)}, nil }
