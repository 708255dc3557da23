package acl

import "strings"

// Values of filters that rules do not have.
const (
	AnyType       Type       = 1
	AnyPattern    Pattern    = 1 // compares only the name
	MatchPattern  Pattern    = 2 // of all rules that apply to the resource of the name
	AnyOperation  Operation  = 1
	AnyPermission Permission = 1
)

// Filter selects rules. Nil texts match all of them.
type Filter struct {
	Type       Type
	Pattern    Pattern
	Name       *string
	Principal  *string
	Host       *string
	Operation  Operation
	Permission Permission
}

// Check returns why a filter is not one. The error wraps ErrInvalid.
func (f *Filter) Check() error {
	switch {
	case f.Type != AnyType && allowed[f.Type] == nil:
		return invalid("there are no rules for resource type %d", f.Type)
	case f.Pattern < AnyPattern || f.Pattern > Prefixed:
		return invalid("pattern type %d of a filter", f.Pattern)
	case f.Operation < AnyOperation || f.Operation > lastOperation:
		return invalid("operation %d of a filter", f.Operation)
	case f.Permission < AnyPermission || f.Permission > Allow:
		return invalid("permission %d of a filter", f.Permission)
	}
	return nil
}

// Matches reports whether the filter selects a rule.
func (f *Filter) Matches(b *Binding) bool {
	return (f.Type == AnyType || f.Type == b.Type) &&
		(f.Operation == AnyOperation || f.Operation == b.Operation) &&
		(f.Permission == AnyPermission || f.Permission == b.Permission) &&
		same(f.Principal, b.Principal) && same(f.Host, b.Host) && f.matchesName(b)
}

func same(want *string, is string) bool { return want == nil || *want == is }

func (f *Filter) matchesName(b *Binding) bool {
	switch f.Pattern {
	case AnyPattern:
		return same(f.Name, b.Name)
	case MatchPattern:
		return f.Name == nil || b.appliesTo(*f.Name)
	}
	return f.Pattern == b.Pattern && same(f.Name, b.Name)
}

// appliesTo reports whether a rule is about the resource of a name.
func (b *Binding) appliesTo(name string) bool {
	if b.Pattern == Prefixed {
		return strings.HasPrefix(name, b.Name)
	}
	return b.Name == name || b.Name == Wildcard
}
