package kafka

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/sasl"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/acl"
)

// Access is the users and their rights. All functions are called concurrently. The zero value
// is a cluster without authentication: every client may do everything.
type Access struct {
	// Required reports whether clients have to authenticate. Then an operation is refused
	// unless a rule allows it. Nil: they need not.
	Required func() bool
	// Rules are the ACLs of the cluster.
	Rules func() *acl.Rules
	// Users lists the credentials of users, by name.
	Users func() []metadata.UserSet
	// SASL authenticates the clients of listeners that ask for it. Nil: there is none.
	SASL *sasl.Server
	// SuperUsers are principals that may do everything, whatever the rules say.
	SuperUsers []string
	// MaxReauth is how long an authentication holds: connections.max.reauth.ms; 0: as long
	// as the connection.
	MaxReauth time.Duration
}

// enforced reports whether operations are allowed by rules alone.
func (a *Access) enforced() bool { return a.Required != nil && a.Required() }

// unlimited reports whether a client may do everything.
func (a *Access) unlimited(by *listener.Client) bool {
	return !a.enforced() || slices.Contains(a.SuperUsers, by.Principal.String())
}

// allows is the authorizer. The rules are asked at each request, so that a right that is taken
// away is gone at once.
func (a *Access) allows(by *listener.Client, op operation, on aclResource) bool {
	return a.unlimited(by) || a.Rules().Allows(acl.Request{
		Principal: by.Principal.String(), Host: by.Host, Operation: acl.Operation(op), Type: acl.Type(on.kind), Name: on.name,
	})
}

// allowsSome reports whether a client may do an operation on a resource of a kind, of any name.
func (a *Access) allowsSome(by *listener.Client, op operation, on kmsg.ACLResourceType) bool {
	return a.unlimited(by) || a.Rules().AllowsSome(by.Principal.String(), by.Host, acl.Operation(op), acl.Type(on))
}

func (a *Access) users() []metadata.UserSet {
	if a.Users == nil {
		return nil
	}
	return a.Users()
}

// accessService authenticates clients, and describes and changes users and ACLs.
type accessService struct {
	codes
	gate   *gate
	access *Access
	now    func() time.Time
	admin  metadata.AccessAdmin
}
