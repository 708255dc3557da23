// Package acl is Kafka's model of authorisation: which principal may do which operation on
// which resource, from which host.
//
// It owns the form of a rule (Binding), the matching of rules by filters, and an index that
// decides (Rules). It promises that a request is refused unless a rule allows it, and that a
// rule which denies it beats all rules which allow it. A decision does not take longer because
// there are many rules.
//
// Numbers of types, patterns, operations and permissions are those of Kafka's protocol,
// because they are stored. The meaning is that of Kafka's StandardAuthorizer (KIP-801), with
// prefixed patterns (KIP-290), and of its option allow.everyone.if.no.acl.found only the
// default, false.
//
// It never authenticates a client, and it does not know super users.
package acl
