package metadata

import (
	"context"
	"slices"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/tiering/segment"
)

// AccessAdmin is the part of Admin that changes users and their rights.
type AccessAdmin interface {
	// CreateACLs answers for each rule in turn, nil when it is committed. A rule that is
	// there already needs nothing.
	CreateACLs(ctx context.Context, bindings []acl.Binding) []error
	// DeleteACLs removes the rules that each filter selects, and answers for each filter in
	// turn.
	DeleteACLs(ctx context.Context, filters []acl.Filter) []RemovedACLs
	// AlterUsers answers for each change in turn.
	AlterUsers(ctx context.Context, changes []UserChange) []error
	// RequireAuthentication creates the first administrator, a user who may do everything,
	// and requires clients to authenticate from then on. ErrAuthenticationIsOn: they have
	// to already, and nothing changes.
	RequireAuthentication(ctx context.Context, user string, credentials []scram.Credential) error
	// EndAuthentication ends that; users and ACLs stay.
	EndAuthentication(ctx context.Context) error
}

// CreateACLs implements AccessAdmin.
func (l *Leader) CreateACLs(ctx context.Context, bindings []acl.Binding) []error {
	return l.each(ctx, len(bindings), func(c *Controller) ([]segment.Entry, []error) { return c.AddACLs(bindings) }, nil)
}

// DeleteACLs implements AccessAdmin.
func (l *Leader) DeleteACLs(ctx context.Context, filters []acl.Filter) []RemovedACLs {
	var results []RemovedACLs
	err := l.do(ctx, &command{plan: func(c *Controller) (entries []segment.Entry, _ error) {
		entries, results = c.RemoveACLs(filters)
		return entries, nil
	}})
	if err != nil {
		return slices.Repeat([]RemovedACLs{{Err: err}}, len(filters)) // the plan may still be running
	}
	return results
}

// AlterUsers implements AccessAdmin.
func (l *Leader) AlterUsers(ctx context.Context, changes []UserChange) []error {
	return l.each(ctx, len(changes), func(c *Controller) ([]segment.Entry, []error) { return c.AlterUsers(changes) }, nil)
}

// RequireAuthentication implements AccessAdmin.
func (l *Leader) RequireAuthentication(ctx context.Context, user string, credentials []scram.Credential) error {
	return l.do(ctx, &command{plan: func(c *Controller) ([]segment.Entry, error) { return c.RequireAuthentication(user, credentials) }})
}

// EndAuthentication implements AccessAdmin.
func (l *Leader) EndAuthentication(ctx context.Context) error {
	return l.do(ctx, &command{plan: (*Controller).EndAuthentication})
}
