package metadata

import (
	"errors"
	"fmt"
	"slices"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/tiering/segment"
)

// Results of requests about users, ACLs and quotas that fail.
var (
	ErrNoSecurity         = fmt.Errorf("users, ACLs and quotas need feature level %d: run \"varve cluster upgrade\"", LevelSecurity)
	ErrInvalidACL         = acl.ErrInvalid
	ErrInvalidCredential  = scram.ErrInvalid
	ErrUnknownUser        = errors.New("there is no such user, or none with this mechanism")
	ErrTooManyACLs        = fmt.Errorf("a cluster keeps %d ACLs at most: use prefixed ones", MaxACLs)
	ErrTooManyUsers       = fmt.Errorf("a cluster keeps %d credentials of users at most", MaxUsers)
	ErrAuthenticationIsOn = errors.New("authentication is on already: the first administrator exists")
)

// Rules are the ACLs of the cluster. They decide by the newest state, also later, unless
// Restore replaces the state: callers do not keep them.
func (s *State) Rules() *acl.Rules {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.img.access.rules
}

// Credential returns the credential of a user for a mechanism.
func (s *State) Credential(user string, m scram.Mechanism) (scram.Credential, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.img.access.users[userKey{user, m}]
	return c, ok
}

// Users lists the credentials of all users, by name and mechanism.
func (s *State) Users() []UserSet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.img.access.userList()
}

// AuthenticationRequired reports whether clients of this cluster have to authenticate.
func (s *State) AuthenticationRequired() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.img.access.authentication
}

// Quotas lists the quotas that are set.
func (s *State) Quotas() []QuotaSet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.img.access.quotaList()
}

// AddACLs plans rules, and answers for each in turn. One that is there already needs nothing.
func (c *Controller) AddACLs(bindings []acl.Binding) ([]segment.Entry, []error) {
	errs := make([]error, len(bindings))
	var added []acl.Binding
	have := c.img.access.rules.Len()
	seen := map[acl.Binding]bool{}
	for i, b := range bindings {
		switch err := b.Check(); {
		case c.img.level < LevelSecurity:
			errs[i] = ErrNoSecurity
		case err != nil:
			errs[i] = err
		case seen[b] || c.img.access.rules.Has(b):
		case have+len(added) >= MaxACLs:
			errs[i] = ErrTooManyACLs
		default:
			seen[b] = true
			added = append(added, b)
		}
	}
	entries, err := c.planACLs(added, func(part []acl.Binding) Change { return ACLsAdded{part} })
	if err != nil {
		errs = repeat(err, len(bindings))
	}
	return entries, errs
}

// planACLs plans changes of rules in entries of some size. It may have planned a part of them
// before an error.
func (c *Controller) planACLs(changed []acl.Binding, change func([]acl.Binding) Change) (entries []segment.Entry, err error) {
	for part := range slices.Chunk(changed, maxEntryACLs) {
		e, err := c.plan(change(part))
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// RemovedACLs are the rules that a filter has selected for removal.
type RemovedACLs struct {
	Bindings []acl.Binding
	Err      error
}

// RemoveACLs plans the removal of the rules that each filter selects. A rule is in the answer
// to the first filter that selects it.
func (c *Controller) RemoveACLs(filters []acl.Filter) (entries []segment.Entry, results []RemovedACLs) {
	results = make([]RemovedACLs, len(filters))
	for i, f := range filters {
		if results[i].Err = f.Check(); c.img.level < LevelSecurity {
			results[i].Err = ErrNoSecurity
		}
		if results[i].Err != nil {
			continue
		}
		found := c.img.access.rules.Select(&f)
		more, err := c.planACLs(found, func(part []acl.Binding) Change { return ACLsRemoved{part} })
		entries = append(entries, more...)
		results[i] = RemovedACLs{Bindings: found, Err: err}
	}
	return entries, results
}

// UserChange sets the credential of a user, or removes that for a mechanism.
type UserChange struct {
	Name   string
	Remove scram.Mechanism   // 0: set
	Set    *scram.Credential // nil: remove
}

// AlterUsers plans changes of users, and answers for each in turn.
func (c *Controller) AlterUsers(changes []UserChange) ([]segment.Entry, []error) {
	return planEach(c, changes, false, func(u UserChange) (Change, error) {
		switch {
		case c.img.level < LevelSecurity:
			return nil, ErrNoSecurity
		case u.Set != nil:
			return c.setUser(u.Name, *u.Set)
		}
		if _, ok := c.img.access.users[userKey{u.Name, u.Remove}]; !ok {
			return nil, fmt.Errorf("%w: %q with %v", ErrUnknownUser, u.Name, u.Remove)
		}
		return UserRemoved{u.Name, u.Remove}, nil
	})
}

func (c *Controller) setUser(name string, cred scram.Credential) (Change, error) {
	set := UserSet{name, cred}
	if err := set.check(); err != nil {
		return nil, err
	}
	if _, had := c.img.access.users[userKey{name, cred.Mechanism}]; !had && len(c.img.access.users) >= MaxUsers {
		return nil, ErrTooManyUsers
	}
	return set, nil
}

// Administrator are the rules that allow a principal everything.
func Administrator(principal string) []acl.Binding {
	all := func(t acl.Type, name string) acl.Binding {
		return acl.Binding{Type: t, Pattern: acl.Literal, Name: name, Principal: principal, Host: acl.Wildcard, Operation: acl.All, Permission: acl.Allow}
	}
	return []acl.Binding{all(acl.Topic, acl.Wildcard), all(acl.Group, acl.Wildcard), all(acl.Cluster, acl.ClusterName), all(acl.TransactionalID, acl.Wildcard)}
}

// RequireAuthentication plans the first administrator, who may do everything, and that
// clients have to authenticate from then on. If they have to already, nothing changes and
// the error is ErrAuthenticationIsOn: a password that was changed since is not set back.
func (c *Controller) RequireAuthentication(user string, credentials []scram.Credential) ([]segment.Entry, error) {
	switch {
	case c.img.level < LevelSecurity:
		return nil, ErrNoSecurity
	case c.img.access.authentication:
		return nil, ErrAuthenticationIsOn
	}
	if _, err := c.trial().firstAdministrator(user, credentials); err != nil {
		return nil, err
	}
	return c.firstAdministrator(user, credentials)
}

// firstAdministrator may have planned a part of it before an error.
func (c *Controller) firstAdministrator(user string, credentials []scram.Credential) (entries []segment.Entry, err error) {
	if len(credentials) == 0 {
		return nil, fmt.Errorf("%w: none for the first administrator", ErrInvalidCredential)
	}
	add := func(change Change, err error) error {
		if err != nil {
			return err
		}
		e, err := c.plan(change)
		entries = append(entries, e)
		return err
	}
	for _, cred := range credentials {
		if err := add(c.setUser(user, cred)); err != nil {
			return entries, err
		}
	}
	more, errs := c.AddACLs(Administrator("User:" + user))
	entries = append(entries, more...)
	if err := errors.Join(errs...); err != nil {
		return entries, err
	}
	return entries, add(AuthenticationSet{true}, nil)
}

// EndAuthentication plans that clients need not authenticate.
func (c *Controller) EndAuthentication() ([]segment.Entry, error) {
	if c.img.level < LevelSecurity || !c.img.access.authentication {
		return nil, nil
	}
	e, err := c.plan(AuthenticationSet{false})
	return []segment.Entry{e}, err
}
