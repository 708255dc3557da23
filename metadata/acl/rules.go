package acl

import (
	"iter"
	"slices"
	"strings"
	"sync"
)

// Rules is a set of rules that decides. Its methods may be called by several goroutines.
type Rules struct {
	mu      sync.RWMutex
	all     map[Binding]struct{}
	holders map[holder]*held
}

// holder is whom rules are about: a principal, or all of its type, at a host, or at all.
type holder struct{ principal, host string }

// held are the rules of a holder, by type of resource.
type held struct {
	count  int
	byType map[Type]*index
}

// NewRules returns a set without rules.
func NewRules() *Rules {
	return &Rules{all: map[Binding]struct{}{}, holders: map[holder]*held{}}
}

// Len is the number of rules.
func (r *Rules) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.all)
}

// Has reports whether the set has a rule.
func (r *Rules) Has(b Binding) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.all[b]
	return ok
}

// Add adds a valid rule, and reports whether the set did not have it.
func (r *Rules) Add(b Binding) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.all[b]; ok {
		return false
	}
	r.all[b] = struct{}{}
	of := holder{b.Principal, b.Host}
	h := r.holders[of]
	if h == nil {
		h = &held{byType: map[Type]*index{}}
		r.holders[of] = h
	}
	if h.byType[b.Type] == nil {
		h.byType[b.Type] = newIndex()
	}
	h.count++
	h.byType[b.Type].set(&b, true)
	return true
}

// Remove removes a rule, and reports whether the set had it.
func (r *Rules) Remove(b Binding) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.all[b]; !ok {
		return false
	}
	delete(r.all, b)
	of := holder{b.Principal, b.Host}
	h := r.holders[of]
	h.byType[b.Type].set(&b, false)
	if h.count--; h.count == 0 {
		delete(r.holders, of)
	}
	return true
}

// Select returns the rules that a filter selects, in the order of Compare.
func (r *Rules) Select(f *Filter) (found []Binding) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for b := range r.all {
		if f.Matches(&b) {
			found = append(found, b)
		}
	}
	slices.SortFunc(found, Compare)
	return found
}

// Clone returns a copy that changes on its own.
func (r *Rules) Clone() *Rules {
	c := NewRules()
	r.mu.RLock()
	defer r.mu.RUnlock()
	for b := range r.all {
		c.Add(b)
	}
	return c
}

// Request is an operation of a client on a resource.
type Request struct {
	Principal string // Type:Name
	Host      string
	Operation Operation
	Type      Type
	Name      string
}

// Allows reports whether the rules allow a request.
func (r *Rules) Allows(q Request) bool {
	allow, deny := allowing(q.Operation), denying(q.Operation)
	allowed := false
	r.mu.RLock()
	defer r.mu.RUnlock()
	for x := range r.about(q.Principal, q.Host, q.Type) {
		e := x.find(q.Name)
		if e.denied&deny != 0 {
			return false
		}
		allowed = allowed || e.allowed&allow != 0
	}
	return allowed
}

// AllowsSome reports whether a client may do an operation on some resource of a type, whether
// there is one or not (KIP-679). A rule has to allow it for names, and no rule may deny it for
// all of these.
func (r *Rules) AllowsSome(principal, host string, op Operation, on Type) bool {
	allow, deny := allowing(op), denying(op)
	r.mu.RLock()
	defer r.mu.RUnlock()
	denied := func(p Pattern, name string) bool {
		for x := range r.about(principal, host, on) {
			if x.covers(p, name, deny) {
				return true
			}
		}
		return false
	}
	for x := range r.about(principal, host, on) {
		for p, name := range x.names(allow) {
			if !denied(p, name) {
				return true
			}
		}
	}
	return false
}

// about returns the rules about a principal at a host.
func (r *Rules) about(principal, host string, on Type) iter.Seq[*index] {
	kind, _, _ := strings.Cut(principal, ":")
	return func(yield func(*index) bool) {
		for _, of := range [...]holder{{principal, host}, {principal, Wildcard}, {kind + ":" + Wildcard, host}, {kind + ":" + Wildcard, Wildcard}} {
			if h := r.holders[of]; h != nil && h.byType[on] != nil && !yield(h.byType[on]) {
				return
			}
		}
	}
}

// allowing are the operations of rules that allow an operation: those that imply it too.
func allowing(op Operation) set {
	s := bit(op) | bit(All)
	switch op {
	case Describe:
		s |= bit(Read) | bit(Write) | bit(Delete) | bit(Alter)
	case DescribeConfigs:
		s |= bit(AlterConfigs)
	}
	return s
}

// denying are the operations of rules that deny an operation.
func denying(op Operation) set { return bit(op) | bit(All) }
