package acl

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Type is the type of a resource.
type Type uint8

// The types of resources that rules can be about.
const (
	Topic           Type = 2
	Group           Type = 3
	Cluster         Type = 4
	TransactionalID Type = 5
)

// ClusterName is the name of the only resource of type Cluster.
const ClusterName = "kafka-cluster"

// Wildcard is the name of all resources of a type, and the host of all hosts. As the name in
// a principal it means all principals of its type.
const Wildcard = "*"

// Pattern is how the name of a rule is compared with that of a resource.
type Pattern uint8

// The patterns of rules.
const (
	Literal  Pattern = 3 // the same name, or Wildcard
	Prefixed Pattern = 4 // the resource's name begins with it
)

// Operation is something that a client does to a resource.
type Operation uint8

// The operations.
const (
	All             Operation = 2 // in a rule: each of the others
	Read            Operation = 3
	Write           Operation = 4
	Create          Operation = 5
	Delete          Operation = 6
	Alter           Operation = 7
	Describe        Operation = 8
	ClusterAction   Operation = 9
	DescribeConfigs Operation = 10
	AlterConfigs    Operation = 11
	IdempotentWrite Operation = 12
	lastOperation             = IdempotentWrite
)

// Permission is the effect of a rule.
type Permission uint8

// The permissions.
const (
	Deny  Permission = 2
	Allow Permission = 3
)

// Binding is one rule. It has no identity but its content.
type Binding struct {
	Type       Type
	Pattern    Pattern
	Name       string // of the resource, or its beginning
	Principal  string // Type:Name, such as User:alice; Type:* for all of them
	Host       string // an IP address as net.IP writes it, or Wildcard
	Operation  Operation
	Permission Permission
}

// Compare is the order of rules: by type, name, pattern, principal, host, operation and
// permission.
func Compare(a, b Binding) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name), cmp.Compare(a.Pattern, b.Pattern),
		strings.Compare(a.Principal, b.Principal), strings.Compare(a.Host, b.Host),
		cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Permission, b.Permission))
}

// Limits of a rule, in bytes. Kafka's names of topics have at most 249.
const (
	MaxName      = 4096
	MaxPrincipal = 1024
	MaxHost      = 255
)

// ErrInvalid: a rule that could never mean anything. Errors of Check wrap it.
var ErrInvalid = errors.New("invalid ACL")

// allowed are the operations that rules of each type may have. All is always one of them.
var allowed = map[Type][]Operation{
	Topic:           {Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs},
	Group:           {Read, Delete, Describe, DescribeConfigs, AlterConfigs},
	Cluster:         {Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite},
	TransactionalID: {Write, Describe},
}

// Check returns why a rule is not valid. The error wraps ErrInvalid.
func (b *Binding) Check() error {
	switch {
	case allowed[b.Type] == nil:
		return invalid("there are no rules for resource type %d", b.Type)
	case b.Pattern != Literal && b.Pattern != Prefixed:
		return invalid("pattern type %d, a rule has literal or prefixed", b.Pattern)
	case b.Permission != Deny && b.Permission != Allow:
		return invalid("permission %d, a rule allows or denies", b.Permission)
	case b.Operation < All || b.Operation > lastOperation:
		return invalid("there are no rules for operation %d", b.Operation)
	}
	if err := checkText("name of the resource", b.Name, MaxName); err != nil {
		return err
	}
	switch {
	case b.Type == Cluster && b.Name != ClusterName:
		return invalid("the cluster is called %s, not %.100q", ClusterName, b.Name)
	case b.Type == Cluster && b.Pattern != Literal:
		return invalid("the pattern type of rules for the cluster is literal")
	}
	return errors.Join(checkPrincipal(b.Principal), checkHost(b.Host))
}

func checkPrincipal(p string) error {
	if err := checkText("principal", p, MaxPrincipal); err != nil {
		return err
	}
	if kind, name, ok := strings.Cut(p, ":"); !ok || kind == "" || name == "" {
		return invalid("principal %.100q, want Type:Name such as User:alice", p)
	}
	return nil
}

// checkHost takes any text, as Kafka does, which compares hosts as text.
func checkHost(host string) error { return checkText("host", host, MaxHost) }

func checkText(of, text string, limit int) error {
	switch {
	case text == "":
		return invalid("the %s is empty", of)
	case len(text) > limit:
		return invalid("the %s has %d bytes, the limit is %d", of, len(text), limit)
	case !utf8.ValidString(text):
		return invalid("the %s is not UTF-8", of)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
