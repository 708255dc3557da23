package kafka

import (
	"context"
	"slices"
	"sync"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/tiering/segment"
)

// memAccess is journal 0 of a cluster in memory, for users and ACLs.
type memAccess struct {
	mu    sync.Mutex
	state *metadata.State
	plans *metadata.Controller
	seq   uint64
}

func newMemAccess() *memAccess {
	m := &memAccess{state: metadata.NewUpTo(metadata.LevelSecurity)}
	level, err := metadata.Encode(metadata.FeatureLevel{Level: metadata.LevelSecurity})
	if err != nil {
		panic(err)
	}
	m.commit([]segment.Entry{level})
	m.plans = metadata.NewController(m.state, metadata.Defaults{})
	return m
}

func (m *memAccess) commit(entries []segment.Entry) {
	m.seq++
	f := &segment.Footer{Header: segment.Header{Kind: segment.KindData, Seq: m.seq, Epoch: 1}}
	if err := m.state.Apply(f, entries); err != nil {
		panic(err)
	}
}

// do plans and commits.
func (m *memAccess) do(plan func() []segment.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commit(plan())
}

func (m *memAccess) CreateACLs(_ context.Context, bindings []acl.Binding) (errs []error) {
	m.do(func() (entries []segment.Entry) { entries, errs = m.plans.AddACLs(bindings); return entries })
	return errs
}

func (m *memAccess) DeleteACLs(_ context.Context, filters []acl.Filter) (results []metadata.RemovedACLs) {
	m.do(func() (entries []segment.Entry) { entries, results = m.plans.RemoveACLs(filters); return entries })
	return results
}

func (m *memAccess) AlterUsers(_ context.Context, changes []metadata.UserChange) (errs []error) {
	m.do(func() (entries []segment.Entry) { entries, errs = m.plans.AlterUsers(changes); return entries })
	return errs
}

func (m *memAccess) RequireAuthentication(_ context.Context, user string, credentials []scram.Credential) (err error) {
	m.do(func() (entries []segment.Entry) {
		entries, err = m.plans.RequireAuthentication(user, credentials)
		return entries
	})
	return err
}

func (m *memAccess) EndAuthentication(context.Context) (err error) {
	m.do(func() (entries []segment.Entry) { entries, err = m.plans.EndAuthentication(); return entries })
	return err
}

// setUser gives a user a password for both mechanisms.
func (m *memAccess) setUser(name, password string) {
	var changes []metadata.UserChange
	for _, mechanism := range scram.Mechanisms {
		c, err := scram.FromPassword(mechanism, password, []byte("salt of "+name), scram.MinIterations)
		if err != nil {
			panic(err)
		}
		changes = append(changes, metadata.UserChange{Name: name, Set: &c})
	}
	if errs := m.AlterUsers(context.Background(), changes); slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		panic(errs)
	}
}

// removeUser takes all credentials from a user.
func (m *memAccess) removeUser(name string) {
	m.AlterUsers(context.Background(), []metadata.UserChange{{Name: name, Remove: scram.SHA256}, {Name: name, Remove: scram.SHA512}})
}
