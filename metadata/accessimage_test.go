package metadata

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

// secureState has something of everything that LevelSecurity brought.
func secureState(t interface {
	Helper()
	Fatal(...any)
}) *State {
	s := NewUpTo(LevelSecurity)
	other := userA
	other.Name = "b"
	apply(t, s, FeatureLevel{Level: LevelSecurity}, ACLsAdded{[]acl.Binding{bindingA, bindingB}}, userA, other, AuthenticationSet{true},
		QuotaSet{quotaA, 1.5}, QuotaSet{Quota{User: Subject{Whose: Default}, Name: "consumer_byte_rate"}, 0})
	return s
}

func TestEntriesOfAccessAreOfTheirLevel(t *testing.T) {
	s := NewUpTo(LevelSecurity)
	apply(t, s, FeatureLevel{Level: LevelCluster})
	for _, c := range accessChanges() {
		if err := tryApply(t, s, c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%T: %v", c, err)
		}
	}
	c := NewController(s, Defaults{})
	_, errs := c.AddACLs([]acl.Binding{bindingA})
	_, removed := c.RemoveACLs([]acl.Filter{every})
	_, users := c.AlterUsers([]UserChange{{Name: "a", Set: &userA.Credential}})
	_, required := c.RequireAuthentication("a", []scram.Credential{userA.Credential})
	for i, err := range []error{errs[0], removed[0].Err, users[0], required} {
		if !errors.Is(err, ErrNoSecurity) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if entries, err := c.EndAuthentication(); entries != nil || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
	if b := s.Encode(); b[0] != clusterCheckpoint {
		t.Errorf("checkpoint of version %d", b[0])
	}
	if err := New().Restore(secureState(t).Encode()); !errors.Is(err, ErrTooOld) {
		t.Errorf("a node that does not know the level: %v", err)
	}
}

func TestCheckpointOfASecureClusterIsPinned(t *testing.T) {
	b := secureState(t).Encode()
	text := func(s string) string {
		return hex.EncodeToString([]byte{0, byte(len(s))}) + hex.EncodeToString([]byte(s))
	}
	keys := "01" + "00001000" + text("salt") + "0020" + strings.Repeat("07", 32) + "0020" + strings.Repeat("08", 32)
	want := "04" + "0000000000000001" + "00000001" + "0004" + "0000000000000000" + "0000000000000001" + "00000000" + "00000000" + "00000000" + "00000000" +
		"01" + "00000002" + text("a") + keys + text("b") + keys +
		"00000002" + "02040303" + text("or") + text("User:a") + text("*") + "03030202" + text("g") + text("User:*") + text("::1") +
		"00000002" + "01" + text("a") + "02" + "0000" + text("producer_byte_rate") + "3ff8000000000000" + "02" + "0000" + "00" + "0000" + text("consumer_byte_rate") + "0000000000000000"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("compatibility: got\n%s, want\n%s", got, want)
	}
	again := NewUpTo(LevelSecurity)
	if err := again.Restore(b); err != nil || again.hash() != secureState(t).hash() || !again.AuthenticationRequired() || len(again.Users()) != 2 || len(again.Quotas()) != 2 || again.Rules().Len() != 2 {
		t.Errorf("restored: %v", err)
	}
	for i := range b {
		if err := NewUpTo(LevelSecurity).Restore(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for version := byte(checkpointVersion); version < securityCheckpoint; version++ {
		other := bytes.Clone(b)
		other[0] = version
		if err := NewUpTo(LevelSecurity).Restore(other); !errors.Is(err, ErrCorrupt) {
			t.Errorf("with version %d: %v", version, err)
		}
	}
	for name, change := range map[string][2]string{
		"users in another order": {text("b") + keys, text("A") + keys},
		"a user twice":           {text("b") + keys, text("a") + keys},
		"ACLs in another order":  {"03030202" + text("g"), "02030202" + text("g")},
		"quotas in another":      {"02" + "0000" + "00" + "0000", "00" + "0000" + "02" + "0000"},
		"required 2":             {"01" + "00000002" + text("a"), "02" + "00000002" + text("a")},
	} {
		damaged, err := hex.DecodeString(strings.Replace(want, change[0], change[1], 1))
		if err != nil || bytes.Equal(damaged, b) {
			t.Fatalf("%s: %v", name, err)
		}
		if err := NewUpTo(LevelSecurity).Restore(damaged); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRandomChangesOfAccess tries changes of all kinds. Those that are taken come back from a
// checkpoint; those that are refused, also at the end of an object, change nothing.
func TestRandomChangesOfAccess(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: randomAccess, Must: []string{"taken", "refused"}}, 300, 50)
}

func randomAccess(t *seeded.T, _ struct{}) {
	s := NewUpTo(LevelSecurity)
	apply(t, s, FeatureLevel{Level: LevelSecurity})
	tryChanges(t, s, 60, randomAccessChange, func() {})
}

func randomAccessChange(r *rand.Rand) Change {
	binding := bindingA
	binding.Principal, binding.Pattern = fmt.Sprint("User:", r.IntN(2)), acl.Pattern(3+r.IntN(2))
	user := userA
	user.Name, user.Salt = fmt.Sprint(r.IntN(2)), []byte{byte(r.IntN(3))}
	quota := quotaA
	quota.User.Name = fmt.Sprint(r.IntN(2))
	return []Change{
		ACLsAdded{[]acl.Binding{bindingB, binding}}, ACLsAdded{[]acl.Binding{binding}}, ACLsRemoved{[]acl.Binding{binding, bindingB}}, ACLsRemoved{[]acl.Binding{binding}},
		user, UserRemoved{user.Name, scram.SHA256}, AuthenticationSet{r.IntN(2) == 0}, QuotaSet{quota, float64(r.IntN(3))}, QuotaRemoved{quota},
	}[r.IntN(9)]
}

func TestRequestsAboutAccess(t *testing.T) {
	s := NewUpTo(LevelSecurity)
	apply(t, s, FeatureLevel{Level: LevelSecurity})
	c := NewController(s, Defaults{})
	do := func(entries []segment.Entry) {
		t.Helper()
		commit(t, s, entries)
		if imageBytes(c.img) != imageBytes(s.img) {
			t.Fatal("the plan is another state than the journal")
		}
	}
	nameless := bindingA
	nameless.Name = ""
	entries, errs := c.AddACLs([]acl.Binding{bindingA, nameless, bindingA, bindingB})
	if do(entries); errs[0] != nil || !errors.Is(errs[1], ErrInvalidACL) || errs[2] != nil || errs[3] != nil || s.Rules().Len() != 2 {
		t.Errorf("added: %v, %d rules", errs, s.Rules().Len())
	}
	if entries, errs = c.AddACLs([]acl.Binding{bindingA}); entries != nil || errs[0] != nil {
		t.Errorf("added again: %v, %v", entries, errs)
	}
	filter := every
	filter.Type = acl.Topic
	entries, removed := c.RemoveACLs([]acl.Filter{filter, every, {}})
	if do(entries); len(removed[0].Bindings) != 1 || len(removed[1].Bindings) != 1 || !errors.Is(removed[2].Err, ErrInvalidACL) || s.Rules().Len() != 0 {
		t.Errorf("removed: %+v", removed)
	}
	entries, errs = c.AlterUsers([]UserChange{{Name: "a", Set: &userA.Credential}, {Name: "b", Remove: scram.SHA256}, {Name: "", Set: &userA.Credential}})
	if do(entries); errs[0] != nil || !errors.Is(errs[1], ErrUnknownUser) || !errors.Is(errs[2], ErrInvalidCredential) {
		t.Errorf("users: %v", errs)
	}
	if got, ok := s.Credential("a", scram.SHA256); !ok || !bytes.Equal(got.Salt, userA.Salt) {
		t.Errorf("credential %+v, %t", got, ok)
	}
	entries, errs = c.AlterUsers([]UserChange{{Name: "a", Remove: scram.SHA256}})
	if do(entries); errs[0] != nil || len(s.Users()) != 0 {
		t.Errorf("user removed: %v, %v", errs, s.Users())
	}
}

func TestFirstAdministratorIsCreatedOnce(t *testing.T) {
	s := NewUpTo(LevelSecurity)
	apply(t, s, FeatureLevel{Level: LevelSecurity})
	c := NewController(s, Defaults{})
	for name, user := range map[string]string{"": "a", "\x00": "b"} {
		before := imageBytes(c.img)
		if entries, err := c.RequireAuthentication(name, []scram.Credential{userA.Credential}); entries != nil || err == nil || imageBytes(c.img) != before {
			t.Errorf("user %q (%s): %v, %v", name, user, entries, err)
		}
	}
	if _, err := c.RequireAuthentication("root", nil); !errors.Is(err, ErrInvalidCredential) {
		t.Errorf("without a password: %v", err)
	}
	entries, err := c.RequireAuthentication("root", []scram.Credential{userA.Credential})
	if err != nil {
		t.Fatal(err)
	}
	if last := entries[len(entries)-1].Kind; last != EntryAuthenticationSet {
		t.Errorf("the last entry is of kind %d: a part of them must not lock all users out", last)
	}
	commit(t, s, entries)
	for kind, name := range map[acl.Type]string{acl.Topic: "any", acl.Group: "any", acl.TransactionalID: "any", acl.Cluster: acl.ClusterName} {
		for op := acl.Read; op <= acl.IdempotentWrite; op++ {
			if !s.Rules().Allows(acl.Request{Principal: "User:root", Host: "::1", Operation: op, Type: kind, Name: name}) {
				t.Errorf("the administrator may not do operation %d on type %d", op, kind)
			}
		}
	}
	if entries, err := c.RequireAuthentication("other", []scram.Credential{userA.Credential}); entries != nil || !errors.Is(err, ErrAuthenticationIsOn) {
		t.Errorf("another one: %v, %v", entries, err)
	}
	entries, err = c.EndAuthentication()
	if commit(t, s, entries); err != nil || s.AuthenticationRequired() || len(s.Users()) != 1 {
		t.Errorf("ended: %v, required %t, users %v", err, s.AuthenticationRequired(), s.Users())
	}
}

func TestManyACLsGoIntoSeveralEntries(t *testing.T) {
	s := NewUpTo(LevelSecurity)
	apply(t, s, FeatureLevel{Level: LevelSecurity})
	c := NewController(s, Defaults{})
	many := make([]acl.Binding, MaxACLs+1)
	for i := range many {
		many[i] = bindingA
		many[i].Name = fmt.Sprint(i)
	}
	entries, errs := c.AddACLs(many)
	commit(t, s, entries)
	if len(entries) != MaxACLs/maxEntryACLs || !errors.Is(errs[MaxACLs], ErrTooManyACLs) || slices.ContainsFunc(errs[:MaxACLs], func(err error) bool { return err != nil }) {
		t.Errorf("%d entries, the last answer is %v", len(entries), errs[MaxACLs])
	}
	restored := NewUpTo(LevelSecurity)
	if err := restored.Restore(s.Encode()); err != nil || restored.Rules().Len() != MaxACLs {
		t.Errorf("restored: %v", err)
	}
	entries, removed := c.RemoveACLs([]acl.Filter{every})
	if commit(t, s, entries); len(removed[0].Bindings) != MaxACLs || s.Rules().Len() != 0 {
		t.Errorf("%d removed, %d left", len(removed[0].Bindings), s.Rules().Len())
	}
}
