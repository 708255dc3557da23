package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/tiering/wire"
)

// access is the users of the cluster, their rights and their quotas.
type access struct {
	rules          *acl.Rules
	users          map[userKey]scram.Credential
	quotas         map[Quota]float64
	authentication bool // clients have to authenticate
}

type userKey struct {
	name      string
	mechanism scram.Mechanism
}

func newAccess() access {
	return access{rules: acl.NewRules(), users: map[userKey]scram.Credential{}, quotas: map[Quota]float64{}}
}

func (a access) clone() access {
	a.rules, a.users, a.quotas = a.rules.Clone(), maps.Clone(a.users), maps.Clone(a.quotas)
	return a
}

func (c ACLsAdded) apply(m *image) (func(), error) {
	if i := eachOrNone(c.Bindings, m.access.rules.Add, m.access.rules.Remove); i >= 0 {
		return nil, fmt.Errorf("%w: ACL %+v is added, it is there already", ErrCorrupt, c.Bindings[i])
	}
	return func() { eachOrNone(c.Bindings, m.access.rules.Remove, m.access.rules.Add) }, nil
}

func (c ACLsRemoved) apply(m *image) (func(), error) {
	if i := eachOrNone(c.Bindings, m.access.rules.Remove, m.access.rules.Add); i >= 0 {
		return nil, fmt.Errorf("%w: ACL %+v is removed, it is not there", ErrCorrupt, c.Bindings[i])
	}
	return func() { eachOrNone(c.Bindings, m.access.rules.Add, m.access.rules.Remove) }, nil
}

// eachOrNone does something to all rules, or takes it back and returns the index of the one
// that it failed for; -1 if it did not.
func eachOrNone(all []acl.Binding, do, undo func(acl.Binding) bool) int {
	for i := range all {
		if do(all[i]) {
			continue
		}
		for j := range i {
			undo(all[j])
		}
		return i
	}
	return -1
}

func (c UserSet) apply(m *image) (func(), error) {
	return replaceIn(m.access.users, userKey{c.Name, c.Mechanism}, c.Credential), nil
}

func (c UserRemoved) apply(m *image) (func(), error) {
	return removeFrom(m.access.users, userKey{c.Name, c.Mechanism}, c)
}

func (c QuotaSet) apply(m *image) (func(), error) {
	return replaceIn(m.access.quotas, c.Quota, c.Value), nil
}

func (c QuotaRemoved) apply(m *image) (func(), error) {
	return removeFrom(m.access.quotas, c.Quota, c)
}

// replaceIn sets a value, and returns how to take that back.
func replaceIn[K comparable, V any](all map[K]V, k K, v V) (undo func()) {
	before, had := all[k]
	all[k] = v
	return func() {
		if all[k] = before; !had {
			delete(all, k)
		}
	}
}

// removeFrom removes a value that is there, and returns how to take that back.
func removeFrom[K comparable, V any](all map[K]V, k K, c Change) (undo func(), err error) {
	before, had := all[k]
	if !had {
		return nil, fmt.Errorf("%w: %+v, there is none", ErrCorrupt, c)
	}
	delete(all, k)
	return func() { all[k] = before }, nil
}

func (c AuthenticationSet) apply(m *image) (func(), error) {
	before := m.access.authentication
	if before == c.Required {
		return nil, fmt.Errorf("%w: authentication is required %t, as it was", ErrCorrupt, c.Required)
	}
	m.access.authentication = c.Required
	return func() { m.access.authentication = before }, nil
}

// encode writes the part of an image in one canonical form, from version 4 on:
//
//	authentication required u8
//	| users: count u32, each: payload of UserSet; by name and mechanism
//	| ACLs: count u32, each as in ACLsAdded; by all fields
//	| quotas: count u32, each: payload of QuotaSet; by all fields
func (a *access) encode(w *wire.Writer) {
	w.U8(boolByte(a.authentication))
	w.U32(uint32(len(a.users)))
	for _, u := range a.userList() {
		u.encode(w)
	}
	encodeACLs(w, a.rules.Select(&every))
	w.U32(uint32(len(a.quotas)))
	for _, q := range a.quotaList() {
		q.encode(w)
	}
}

func (a *access) userList() []UserSet {
	all := make([]UserSet, 0, len(a.users))
	for k, c := range a.users {
		all = append(all, UserSet{k.name, c})
	}
	slices.SortFunc(all, compareUsers)
	return all
}

func compareUsers(a, b UserSet) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Mechanism, b.Mechanism))
}

// every selects all rules.
var every = acl.Filter{Type: acl.AnyType, Pattern: acl.AnyPattern, Operation: acl.AnyOperation, Permission: acl.AnyPermission}

func (a *access) quotaList() []QuotaSet {
	all := make([]QuotaSet, 0, len(a.quotas))
	for q, v := range a.quotas {
		all = append(all, QuotaSet{q, v})
	}
	slices.SortFunc(all, compareQuotas)
	return all
}

func compareQuotas(a, b QuotaSet) int {
	return cmp.Or(compareSubjects(a.User, b.User), compareSubjects(a.Client, b.Client), strings.Compare(a.Quota.Name, b.Quota.Name))
}

func compareSubjects(a, b Subject) int {
	return cmp.Or(cmp.Compare(a.Whose, b.Whose), strings.Compare(a.Name, b.Name))
}

// decodeAccess returns the changes that make the part of an image. A list in another order
// than that of encode, or with something twice, is refused.
func decodeAccess(r *wire.Reader, version uint8) (changes []Change, err error) {
	if version < securityCheckpoint {
		return nil, nil
	}
	set, err := decodeAuthenticationSet(r)
	if err != nil {
		return nil, err
	}
	if set.(AuthenticationSet).Required {
		changes = append(changes, set)
	}
	users, err := decodeList(r, minUser, checked[UserSet](decodeUserSet), compareUsers)
	if err != nil {
		return nil, err
	}
	rules, err := decodeList(r, minACL, decodeChecked, acl.Compare)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(rules, maxEntryACLs) {
		changes = append(changes, ACLsAdded{part})
	}
	quotas, err := decodeList(r, minQuota, checked[QuotaSet](decodeQuotaSet), compareQuotas)
	for _, u := range users {
		changes = append(changes, u)
	}
	for _, q := range quotas {
		changes = append(changes, q)
	}
	return changes, err
}

// The sizes of a user and of a quota without their texts.
const (
	minUser  = 13
	minQuota = 16
)

// decodeList returns items that stand in order, each one once.
func decodeList[T any](r *wire.Reader, size int, decode func(*wire.Reader) (T, error), compare func(a, b T) int) (all []T, err error) {
	for range r.Count(r.U32(), size) {
		item, err := decode(r)
		if err = cmp.Or(r.Err(), err); err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && compare(all[n-1], item) >= 0 {
			return nil, fmt.Errorf("%T not in order", item)
		}
		all = append(all, item)
	}
	return all, r.Err()
}

// checked is a decoder of one type of changes, with their own checks.
func checked[C Change](decode decoder) func(*wire.Reader) (C, error) {
	return func(r *wire.Reader) (C, error) {
		c, err := decode(r)
		if err != nil {
			var none C
			return none, err
		}
		return c.(C), c.check()
	}
}

func decodeChecked(r *wire.Reader) (acl.Binding, error) {
	b := decodeACL(r)
	return b, b.Check()
}

// MaxACLs and MaxUsers limit how much a cluster keeps: every node holds it in memory, and
// every checkpoint of journal 0 has it.
const (
	MaxACLs  = 200_000
	MaxUsers = 100_000
)
