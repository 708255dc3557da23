package metadata

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	bindingA = acl.Binding{Type: acl.Topic, Pattern: acl.Prefixed, Name: "or", Principal: "User:a", Host: "*", Operation: acl.Read, Permission: acl.Allow}
	bindingB = acl.Binding{Type: acl.Group, Pattern: acl.Literal, Name: "g", Principal: "User:*", Host: "::1", Operation: acl.All, Permission: acl.Deny}
	userA    = UserSet{"a", scram.Credential{Mechanism: scram.SHA256, Iterations: 4096, Salt: []byte("salt"),
		StoredKey: bytes.Repeat([]byte{7}, 32), ServerKey: bytes.Repeat([]byte{8}, 32)}}
	quotaA = Quota{User: Subject{Named, "a"}, Client: Subject{Whose: Default}, Name: "producer_byte_rate"}
)

func accessChanges() []Change {
	return []Change{
		ACLsAdded{[]acl.Binding{bindingA, bindingB}}, ACLsRemoved{[]acl.Binding{bindingA}}, userA, UserRemoved{"a", scram.SHA512},
		AuthenticationSet{true}, AuthenticationSet{false}, QuotaSet{quotaA, 1.5}, QuotaRemoved{quotaA},
	}
}

func TestLayoutsOfAccessArePinned(t *testing.T) {
	text := func(s string) string {
		return hex.EncodeToString([]byte{0, byte(len(s))}) + hex.EncodeToString([]byte(s))
	}
	bindingAHex := "02040303" + text("or") + text("User:a") + text("*")
	quota := "01" + text("a") + "02" + "0000" + text("producer_byte_rate")
	want := []string{
		"01" + "00000002" + bindingAHex + "03030202" + text("g") + text("User:*") + text("::1"),
		"01" + "00000001" + bindingAHex,
		"01" + text("a") + "01" + "00001000" + text("salt") + "0020" + strings.Repeat("07", 32) + "0020" + strings.Repeat("08", 32),
		"01" + text("a") + "02",
		"01" + "01",
		"01" + "00",
		"01" + quota + "3ff8000000000000",
		"01" + quota,
	}
	for i, kind := range []uint16{16, 17, 18, 19, 20, 20, 21, 22} {
		c := accessChanges()[i]
		e := mustEncode(t, c)
		if e.Kind != kind || hex.EncodeToString(e.Payload) != want[i] {
			t.Errorf("compatibility: %T is kind %d,\n%x, want kind %d,\n%s", c, e.Kind, e.Payload, kind, want[i])
		}
		if back, err := Decode(e); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%T comes back as %+v, %v", c, back, err)
		}
	}
}

func TestEntriesOfAccessAreAsTheFormatPageSays(t *testing.T) {
	page := bytemap.Read(t, "../tiering/segment/FORMAT.md")
	field := func(name string, value any) bytemap.Field { return bytemap.Field{Name: name, Value: value} }
	version := field("payload version", payloadVersion)
	check := func(name string, c Change, fields ...bytemap.Field) {
		page.CheckSequence(t, name, mustEncode(t, c).Payload, append([]bytemap.Field{version}, fields...)...)
	}
	check("ACLs", ACLsAdded{[]acl.Binding{bindingA}}, field("ACLs", uint32(1)), field("type", uint8(2)), field("pattern", uint8(4)), field("operation", uint8(3)),
		field("permission", uint8(3)), field("resource", []byte("or")), field("principal", []byte("User:a")), field("acl host", []byte("*")))
	check("User set", userA, field("user", []byte("a")), field("mechanism", uint8(1)), field("iterations", uint32(4096)), field("salt", []byte("salt")),
		field("stored key", userA.StoredKey), field("server key", userA.ServerKey))
	check("User removed", UserRemoved{"a", scram.SHA512}, field("user", []byte("a")), field("mechanism", uint8(2)))
	of := []bytemap.Field{field("whose user", uint8(1)), field("user", []byte("a")), field("whose client", uint8(2)), field("client id", []byte{}), field("quota", []byte("producer_byte_rate"))}
	check("Quota set", QuotaSet{quotaA, 1.5}, append(of, field("value", math.Float64bits(1.5)))...)
	check("Quota removed", QuotaRemoved{quotaA}, of...)
	b := mustEncode(t, AuthenticationSet{true}).Payload
	page.Check(t, map[string]bytemap.Structure{
		"Authentication set": bytemap.Of(b, len(b), map[string]any{"payload version": payloadVersion, "required": uint8(1)}),
	})
}

func TestEntriesOfAccessHaveTheirLimitsWhenWritingAndWhenReading(t *testing.T) {
	user := func(change func(*UserSet)) Change {
		u := userA
		change(&u)
		return u
	}
	quota := func(change func(*Quota)) Change {
		q := quotaA
		change(&q)
		return QuotaRemoved{q}
	}
	nameless := bindingA
	nameless.Name = ""
	for name, c := range map[string]Change{
		"no ACL":                ACLsAdded{},
		"no ACL removed":        ACLsRemoved{},
		"many ACLs":             ACLsAdded{make([]acl.Binding, maxEntryACLs+1)},
		"an invalid ACL":        ACLsAdded{[]acl.Binding{bindingA, nameless}},
		"an invalid ACL gone":   ACLsRemoved{[]acl.Binding{nameless}},
		"no user":               user(func(u *UserSet) { u.Name = "" }),
		"a short key":           user(func(u *UserSet) { u.StoredKey = u.StoredKey[1:] }),
		"a weak user":           user(func(u *UserSet) { u.Iterations = 1 }),
		"no user removed":       UserRemoved{"", scram.SHA256},
		"no mechanism removed":  UserRemoved{"a", 0},
		"a quota without any":   quota(func(q *Quota) { q.User, q.Client = Subject{}, Subject{} }),
		"a quota of a kind":     quota(func(q *Quota) { q.User.Whose = 3 }),
		"a quota without name":  quota(func(q *Quota) { q.Name = "" }),
		"a quota of no name":    quota(func(q *Quota) { q.User.Name = "" }),
		"a default with a name": quota(func(q *Quota) { q.Client.Name = "x" }),
		"a long name":           quota(func(q *Quota) { q.Client = Subject{Named, strings.Repeat("x", maxQuotaText+1)} }),
		"a long quota":          quota(func(q *Quota) { q.Name = strings.Repeat("x", maxQuotaText+1) }),
		"a quota of no number":  QuotaSet{quotaA, math.NaN()},
		"an endless quota":      QuotaSet{quotaA, math.Inf(1)},
		"a negative quota":      QuotaSet{quotaA, -1},
		"a negative zero":       QuotaSet{quotaA, math.Copysign(0, -1)},
	} {
		if _, err := Encode(c); err == nil {
			t.Errorf("%s: written", name)
		}
		if _, err := Decode(segment.Entry{Kind: c.kind(), Payload: unchecked(c)}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: read: %v", name, err)
		}
	}
	if _, err := Decode(segment.Entry{Kind: EntryAuthenticationSet, Payload: []byte{1, 2}}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("authentication is required 2: %v", err)
	}
}
