package acl_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/metadata/acl"
)

func rule(p acl.Permission, op acl.Operation, t acl.Type, pattern acl.Pattern, name, principal, host string) acl.Binding {
	return acl.Binding{Type: t, Pattern: pattern, Name: name, Principal: principal, Host: host, Operation: op, Permission: p}
}

func TestDecisionsOfRules(t *testing.T) {
	const alice, bob, everywhere = "User:alice", "User:bob", acl.Wildcard
	read := func(by, host, topic string) acl.Request {
		return acl.Request{Principal: by, Host: host, Operation: acl.Read, Type: acl.Topic, Name: topic}
	}
	describe := read(alice, "10.0.0.1", "orders")
	describe.Operation = acl.Describe
	alter := describe
	alter.Operation = acl.AlterConfigs
	tests := map[string]struct {
		rules []acl.Binding
		want  map[acl.Request]bool
	}{
		"nothing is allowed without rules": {nil, map[acl.Request]bool{read(alice, "10.0.0.1", "orders"): false}},
		"a literal rule": {
			[]acl.Binding{rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "orders", alice, everywhere)},
			map[acl.Request]bool{read(alice, "::1", "orders"): true, read(bob, "::1", "orders"): false, read(alice, "::1", "orders2"): false, describe: true, alter: false},
		},
		"a prefix": {
			[]acl.Binding{rule(acl.Allow, acl.Read, acl.Topic, acl.Prefixed, "or", alice, everywhere)},
			map[acl.Request]bool{read(alice, "::1", "orders"): true, read(alice, "::1", "or"): true, read(alice, "::1", "o"): false, read(alice, "::1", "bills"): false},
		},
		"all topics and all users": {
			[]acl.Binding{rule(acl.Allow, acl.All, acl.Topic, acl.Literal, "*", "User:*", everywhere)},
			map[acl.Request]bool{read(alice, "::1", "orders"): true, read(bob, "::1", "x"): true, read("Robot:bob", "::1", "x"): false, alter: true},
		},
		"a prefix that is called as the wildcard means names that begin with a star": {
			[]acl.Binding{rule(acl.Allow, acl.All, acl.Topic, acl.Prefixed, "*", alice, everywhere)},
			map[acl.Request]bool{read(alice, "::1", "orders"): false},
		},
		"a host": {
			[]acl.Binding{rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "orders", alice, "10.0.0.1")},
			map[acl.Request]bool{read(alice, "10.0.0.1", "orders"): true, read(alice, "10.0.0.2", "orders"): false},
		},
		"a denial beats a permission": {
			[]acl.Binding{
				rule(acl.Allow, acl.All, acl.Topic, acl.Literal, "orders", alice, everywhere),
				rule(acl.Deny, acl.Read, acl.Topic, acl.Prefixed, "o", "User:*", "10.0.0.1"),
			},
			map[acl.Request]bool{read(alice, "10.0.0.1", "orders"): false, read(alice, "10.0.0.2", "orders"): true, describe: true},
		},
		"a denial of Describe leaves Read": {
			[]acl.Binding{
				rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "orders", alice, everywhere),
				rule(acl.Deny, acl.Describe, acl.Topic, acl.Literal, "orders", alice, everywhere),
			},
			map[acl.Request]bool{read(alice, "::1", "orders"): true, describe: false},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rules := acl.NewRules()
			for _, b := range test.rules {
				if err := b.Check(); err != nil {
					t.Fatal(err)
				}
				rules.Add(b)
			}
			for q, want := range test.want {
				if got := rules.Allows(q); got != want {
					t.Errorf("%+v: allowed %t, want %t", q, got, want)
				}
			}
		})
	}
}

func drawBinding(t *rapid.T) acl.Binding {
	return acl.Binding{
		Type:       rapid.SampledFrom([]acl.Type{acl.Topic, acl.Group}).Draw(t, "type"),
		Pattern:    rapid.SampledFrom([]acl.Pattern{acl.Literal, acl.Prefixed}).Draw(t, "pattern"),
		Name:       rapid.SampledFrom([]string{"*", "a", "ab", "aba", "abb", "ac", "b"}).Draw(t, "name"),
		Principal:  rapid.SampledFrom([]string{"User:a", "User:b", "User:*"}).Draw(t, "principal"),
		Host:       rapid.SampledFrom([]string{"*", "::1", "::2"}).Draw(t, "host"),
		Operation:  rapid.SampledFrom([]acl.Operation{acl.All, acl.Read, acl.Describe, acl.Alter}).Draw(t, "operation"),
		Permission: rapid.SampledFrom([]acl.Permission{acl.Deny, acl.Allow}).Draw(t, "permission"),
	}
}

func drawRequest(t *rapid.T) acl.Request {
	return acl.Request{
		Type:      rapid.SampledFrom([]acl.Type{acl.Topic, acl.Group}).Draw(t, "type"),
		Name:      rapid.StringMatching(`[abc]{1,4}`).Draw(t, "name"),
		Principal: rapid.SampledFrom([]string{"User:a", "User:b", "User:c"}).Draw(t, "principal"),
		Host:      rapid.SampledFrom([]string{"::1", "::3"}).Draw(t, "host"),
		Operation: rapid.SampledFrom([]acl.Operation{acl.Read, acl.Describe, acl.DescribeConfigs, acl.Write}).Draw(t, "operation"),
	}
}

// counts reports whether a rule is one of those that decide a request, by the words of Kafka's
// documentation.
func counts(b acl.Binding, q acl.Request) bool {
	switch {
	case b.Type != q.Type, b.Principal != q.Principal && b.Principal != "User:*", b.Host != q.Host && b.Host != "*":
		return false
	case b.Pattern == acl.Prefixed && !strings.HasPrefix(q.Name, b.Name), b.Pattern == acl.Literal && b.Name != q.Name && b.Name != "*":
		return false
	case b.Operation == acl.All, b.Operation == q.Operation:
		return true
	case b.Permission == acl.Deny:
		return false
	}
	return q.Operation == acl.Describe && (b.Operation == acl.Read || b.Operation == acl.Write || b.Operation == acl.Delete || b.Operation == acl.Alter) ||
		q.Operation == acl.DescribeConfigs && b.Operation == acl.AlterConfigs
}

func TestIndexDecidesAsALookAtEveryRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, all := acl.NewRules(), map[acl.Binding]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			b := drawBinding(t)
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				if rules.Remove(b) != all[b] {
					t.Fatalf("removal of %+v, which was there: %t", b, all[b])
				}
				delete(all, b)
			} else if rules.Add(b) == all[b] {
				t.Fatalf("addition of %+v, which was there: %t", b, all[b])
			} else {
				all[b] = true
			}
			if rules.Len() != len(all) || rules.Has(b) != all[b] {
				t.Fatalf("%d rules, want %d", rules.Len(), len(all))
			}
			q := drawRequest(t)
			allowed, denied := false, false
			for b := range all {
				allowed = allowed || counts(b, q) && b.Permission == acl.Allow
				denied = denied || counts(b, q) && b.Permission == acl.Deny
			}
			want := allowed && !denied
			if got := rules.Allows(q); got != want {
				t.Fatalf("%+v: allowed %t, want %t by %+v", q, got, want, all)
			}
			if want && !rules.AllowsSome(q.Principal, q.Host, q.Operation, q.Type) {
				t.Fatalf("%+v is allowed, and no name at all: %+v", q, all)
			}
			if got := rules.Clone().Allows(q); got != want {
				t.Fatalf("a copy allows %+v %t, want %t", q, got, want)
			}
		}
	})
}

func TestSomeTopicIsAllowedUnlessARuleDeniesAllOfIt(t *testing.T) {
	allow := func(p acl.Pattern, name string) acl.Binding {
		return rule(acl.Allow, acl.Write, acl.Topic, p, name, "User:a", "*")
	}
	deny := func(p acl.Pattern, name string) acl.Binding {
		return rule(acl.Deny, acl.Write, acl.Topic, p, name, "User:*", "*")
	}
	tests := map[string]struct {
		rules []acl.Binding
		want  bool
	}{
		"none":                           {nil, false},
		"one name":                       {[]acl.Binding{allow(acl.Literal, "a")}, true},
		"a name that is denied":          {[]acl.Binding{allow(acl.Literal, "a"), deny(acl.Literal, "a")}, false},
		"a name under a denied prefix":   {[]acl.Binding{allow(acl.Literal, "ab"), deny(acl.Prefixed, "a")}, false},
		"a prefix under a denied prefix": {[]acl.Binding{allow(acl.Prefixed, "ab"), deny(acl.Prefixed, "a")}, false},
		"a prefix, of which a longer one is denied": {[]acl.Binding{allow(acl.Prefixed, "a"), deny(acl.Prefixed, "ab")}, true},
		"a prefix, of which one name is denied":     {[]acl.Binding{allow(acl.Prefixed, "a"), deny(acl.Literal, "a")}, true},
		"all names, of which a prefix is denied":    {[]acl.Binding{allow(acl.Literal, "*"), deny(acl.Prefixed, "a")}, true},
		"all names are denied":                      {[]acl.Binding{allow(acl.Literal, "*"), allow(acl.Prefixed, "a"), allow(acl.Literal, "b"), deny(acl.Literal, "*")}, false},
		"another operation":                         {[]acl.Binding{rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "a", "User:a", "*")}, false},
		"of another host":                           {[]acl.Binding{rule(acl.Allow, acl.Write, acl.Topic, acl.Literal, "a", "User:a", "::2")}, false},
	}
	for name, test := range tests {
		rules := acl.NewRules()
		for _, b := range test.rules {
			rules.Add(b)
		}
		if got := rules.AllowsSome("User:a", "::1", acl.Write, acl.Topic); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

func TestRulesWithoutMeaningAreRefused(t *testing.T) {
	good := rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "a", "User:a", "*")
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b *acl.Binding){
		"no type":                   func(b *acl.Binding) { b.Type = 0 },
		"any type":                  func(b *acl.Binding) { b.Type = acl.AnyType },
		"a delegation token":        func(b *acl.Binding) { b.Type = 6 },
		"a pattern of filters":      func(b *acl.Binding) { b.Pattern = acl.MatchPattern },
		"no name":                   func(b *acl.Binding) { b.Name = "" },
		"an endless name":           func(b *acl.Binding) { b.Name = strings.Repeat("x", acl.MaxName+1) },
		"a name of other bytes":     func(b *acl.Binding) { b.Name = "\xff" },
		"a principal without type":  func(b *acl.Binding) { b.Principal = "alice" },
		"a principal without name":  func(b *acl.Binding) { b.Principal = "User:" },
		"no host":                   func(b *acl.Binding) { b.Host = "" },
		"any operation":             func(b *acl.Binding) { b.Operation = acl.AnyOperation },
		"an operation of later":     func(b *acl.Binding) { b.Operation = acl.IdempotentWrite + 1 },
		"no permission":             func(b *acl.Binding) { b.Permission = 0 },
		"another cluster":           func(b *acl.Binding) { b.Type, b.Name = acl.Cluster, "mine" },
		"the beginning of clusters": func(b *acl.Binding) { b.Type, b.Name, b.Pattern = acl.Cluster, acl.ClusterName, acl.Prefixed },
	} {
		b := good
		spoil(&b)
		if err := b.Check(); err == nil {
			t.Errorf("%s: %+v is a rule", name, b)
		}
	}
}

func TestFiltersSelectAsKafkas(t *testing.T) {
	all := []acl.Binding{
		rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "ab", "User:a", "*"),
		rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "*", "User:a", "*"),
		rule(acl.Deny, acl.Write, acl.Topic, acl.Prefixed, "a", "User:b", "::1"),
		rule(acl.Allow, acl.Read, acl.Group, acl.Literal, "ab", "User:a", "*"),
	}
	rules := acl.NewRules()
	for _, b := range all {
		rules.Add(b)
	}
	text := func(s string) *string { return &s }
	anything := acl.Filter{Type: acl.AnyType, Pattern: acl.AnyPattern, Operation: acl.AnyOperation, Permission: acl.AnyPermission}
	with := func(change func(f *acl.Filter)) acl.Filter {
		f := anything
		change(&f)
		return f
	}
	for name, test := range map[string]struct {
		filter acl.Filter
		want   []int
	}{
		"all":                {anything, []int{0, 1, 2, 3}},
		"a type":             {with(func(f *acl.Filter) { f.Type = acl.Group }), []int{3}},
		"a name":             {with(func(f *acl.Filter) { f.Name = text("ab") }), []int{0, 3}},
		"a literal name":     {with(func(f *acl.Filter) { f.Name, f.Pattern = text("ab"), acl.Literal }), []int{0, 3}},
		"a prefix":           {with(func(f *acl.Filter) { f.Name, f.Pattern = text("ab"), acl.Prefixed }), nil},
		"all about a name":   {with(func(f *acl.Filter) { f.Name, f.Pattern = text("ab"), acl.MatchPattern }), []int{0, 1, 2, 3}},
		"all about no name":  {with(func(f *acl.Filter) { f.Pattern = acl.MatchPattern }), []int{0, 1, 2, 3}},
		"all about another":  {with(func(f *acl.Filter) { f.Name, f.Pattern = text("x"), acl.MatchPattern }), []int{1}},
		"all prefixes":       {with(func(f *acl.Filter) { f.Pattern = acl.Prefixed }), []int{2}},
		"a principal":        {with(func(f *acl.Filter) { f.Principal = text("User:b") }), []int{2}},
		"a host":             {with(func(f *acl.Filter) { f.Host = text("*") }), []int{0, 1, 3}},
		"an operation":       {with(func(f *acl.Filter) { f.Operation = acl.Write }), []int{2}},
		"all is a name here": {with(func(f *acl.Filter) { f.Operation = acl.All }), nil},
		"denials":            {with(func(f *acl.Filter) { f.Permission = acl.Deny }), []int{2}},
	} {
		if err := test.filter.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := map[acl.Binding]bool{}
		for _, b := range rules.Select(&test.filter) {
			got[b] = true
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: %d rules, want %d", name, len(got), len(test.want))
		}
		for _, i := range test.want {
			if !got[all[i]] {
				t.Errorf("%s: rule %d is not selected", name, i)
			}
		}
	}
	for name, f := range map[string]acl.Filter{
		"no type":       with(func(f *acl.Filter) { f.Type = 0 }),
		"no pattern":    with(func(f *acl.Filter) { f.Pattern = 0 }),
		"no operation":  with(func(f *acl.Filter) { f.Operation = 0 }),
		"no permission": with(func(f *acl.Filter) { f.Permission = 0 }),
	} {
		if f.Check() == nil {
			t.Errorf("%s: it is a filter", name)
		}
	}
}

// BenchmarkDecision decides with 100,000 rules: spread over users, or all about one user, with
// prefixes that begin with each other.
func BenchmarkDecision(b *testing.B) {
	const many = 100_000
	nested := strings.Repeat("n", 249)
	for name, about := range map[string]func(i int) acl.Binding{
		"users": func(i int) acl.Binding {
			return rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, "orders", fmt.Sprint("User:", i), "*")
		},
		"names": func(i int) acl.Binding {
			return rule(acl.Allow, acl.Read, acl.Topic, acl.Literal, fmt.Sprint("orders", i), "User:1", "*")
		},
		"prefixes": func(i int) acl.Binding {
			name := nested[:1+i%len(nested)]
			if i >= len(nested) {
				name += fmt.Sprint(i)
			}
			return rule(acl.Allow, acl.Read, acl.Topic, acl.Prefixed, name, "User:1", "*")
		},
	} {
		b.Run(name, func(b *testing.B) {
			rules := acl.NewRules()
			for i := range many {
				rules.Add(about(i))
			}
			q := acl.Request{Principal: "User:1", Host: "127.0.0.1", Operation: acl.Read, Type: acl.Topic, Name: nested[:248] + "x"}
			for b.Loop() {
				rules.Allows(q)
			}
		})
	}
}
