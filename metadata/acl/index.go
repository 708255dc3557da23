package acl

import (
	"iter"
	"slices"
	"strings"
	"sync"
)

// set is a set of operations, a bit for each.
type set uint16

func bit(op Operation) set { return 1 << op }

// effect is the operations that rules allow and deny on a name.
type effect struct{ allowed, denied set }

func (e effect) or(o effect) effect { return effect{e.allowed | o.allowed, e.denied | o.denied} }

// index has the rules of a holder for one type of resources. Changes have it alone; several
// goroutines may look names up.
type index struct {
	literal  map[string]effect // Wildcard is one of them
	prefixed map[string]effect

	sorting sync.Mutex // of readers that find sorted missing
	sorted  []prefix   // prefixed by name; nil: not made since the last change
}

// prefix is a prefix with rules.
type prefix struct {
	name    string
	effect      // of its own rules and those of all shorter prefixes of it
	shorter int // the index of the longest other one that it begins with, -1 for none
}

func newIndex() *index {
	return &index{literal: map[string]effect{}, prefixed: map[string]effect{}}
}

// set adds a rule, or removes it.
func (x *index) set(b *Binding, add bool) {
	names := x.literal
	if b.Pattern == Prefixed {
		names, x.sorted = x.prefixed, nil
	}
	e := names[b.Name]
	of := &e.allowed
	if b.Permission == Deny {
		of = &e.denied
	}
	if add {
		*of |= bit(b.Operation)
	} else {
		*of &^= bit(b.Operation)
	}
	if names[b.Name] = e; e == (effect{}) {
		delete(names, b.Name)
	}
}

// find returns the effect of all rules on a name.
func (x *index) find(name string) effect {
	e := x.literal[name].or(x.literal[Wildcard])
	if len(x.prefixed) == 0 {
		return e
	}
	return e.or(x.longest(name))
}

// longest returns the effect of the prefixes of a name. Take all prefixes in order, and of them
// the last one that is not behind the name. It begins with every prefix of the name, because
// texts that begin with a prefix stand together, right behind it.
func (x *index) longest(name string) effect {
	all := x.inOrder()
	i, found := slices.BinarySearchFunc(all, name, func(p prefix, name string) int { return strings.Compare(p.name, name) })
	if !found {
		i--
	}
	for ; i >= 0; i = all[i].shorter {
		if strings.HasPrefix(name, all[i].name) {
			return all[i].effect
		}
	}
	return effect{}
}

// inOrder returns the prefixes by name. The first reader after a change makes them.
func (x *index) inOrder() []prefix {
	x.sorting.Lock()
	defer x.sorting.Unlock()
	if x.sorted != nil {
		return x.sorted
	}
	all := make([]prefix, 0, len(x.prefixed))
	for name, e := range x.prefixed {
		all = append(all, prefix{name: name, effect: e})
	}
	slices.SortFunc(all, func(a, b prefix) int { return strings.Compare(a.name, b.name) })
	for i := range all {
		j := i - 1
		for j >= 0 && !strings.HasPrefix(all[i].name, all[j].name) {
			j = all[j].shorter
		}
		if all[i].shorter = j; j >= 0 {
			all[i].effect = all[i].or(all[j].effect)
		}
	}
	x.sorted = all
	return all
}

// covers reports whether rules deny one of some operations for all names of a pattern.
func (x *index) covers(p Pattern, name string, denied set) bool {
	if x.literal[Wildcard].denied&denied != 0 {
		return true
	}
	if p == Literal && x.literal[name].denied&denied != 0 {
		return true
	}
	return !(p == Literal && name == Wildcard) && len(x.prefixed) > 0 && x.longest(name).denied&denied != 0
}

// names returns the names of rules that allow one of some operations.
func (x *index) names(allow set) iter.Seq2[Pattern, string] {
	return func(yield func(Pattern, string) bool) {
		for name, e := range x.literal {
			if e.allowed&allow != 0 && !yield(Literal, name) {
				return
			}
		}
		for name, e := range x.prefixed {
			if e.allowed&allow != 0 && !yield(Prefixed, name) {
				return
			}
		}
	}
}
