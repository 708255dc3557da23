package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/scram"
)

// AlterUserScramCredentials, key 51 (KIP-554).
//
// All changes of a user are asked for, or none if one of them cannot be meant.
func init() {
	register(listener.API{
		Key: kmsg.AlterUserSCRAMCredentials, Min: 0, Max: 0, MaxFrame: listener.PlainFrame, Forwarded: true,
		Shape: shape{
			listOf(sizeOf[kmsg.AlterUserSCRAMCredentialsRequestDeletion](), str(), num(1)),
			listOf(sizeOf[kmsg.AlterUserSCRAMCredentialsRequestUpsertion](), str(), num(1), num(4), raw(), raw()),
		},
	}, func(s *services) listener.Handler { return s.access.beginAlterUsers })
}

func (s *accessService) beginAlterUsers(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, adminWait)
		defer cancel()
		asked := readUserChanges(r.Body.(*kmsg.AlterUserSCRAMCredentialsRequest))
		if err := s.gate.cluster(r.Client, toAlter); err != nil {
			for i := range asked.errs {
				asked.errs[i] = err
			}
		}
		changes, users := asked.wanted()
		if len(changes) > 0 {
			for i, err := range s.admin.AlterUsers(ctx, changes) {
				if err != nil && asked.errs[users[i]] == nil {
					asked.errs[users[i]] = err
				}
			}
		}
		resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
		var code firstCode
		for i, name := range asked.names {
			result := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
			result.User = name
			if err := asked.errs[i]; err != nil {
				result.ErrorCode, result.ErrorMessage = code.note(s.codeFor(err, onAdmin, "AlterUserScramCredentials")), kmsg.StringPtr(err.Error())
			}
			resp.Results = append(resp.Results, result)
		}
		r.Reply(resp, int16(code))
	})
}

// userChanges are the changes of a request, by user.
type userChanges struct {
	names   []string
	changes [][]metadata.UserChange // of each user
	errs    []error                 // why nothing of a user is changed
	at      map[string]int
}

func readUserChanges(req *kmsg.AlterUserSCRAMCredentialsRequest) *userChanges {
	u := &userChanges{at: map[string]int{}}
	for i := range req.Deletions {
		in := &req.Deletions[i]
		u.add(metadata.UserChange{Name: in.Name, Remove: scram.Mechanism(in.Mechanism)}, nil)
	}
	for i := range req.Upsertions {
		in := &req.Upsertions[i]
		c, err := scram.FromSalted(scram.Mechanism(in.Mechanism), in.SaltedPassword, in.Salt, uint32(in.Iterations))
		u.add(metadata.UserChange{Name: in.Name, Set: &c}, err)
	}
	return u
}

func (u *userChanges) add(change metadata.UserChange, err error) {
	i, ok := u.at[change.Name]
	if !ok {
		i, u.at[change.Name] = len(u.names), len(u.names)
		u.names, u.changes, u.errs = append(u.names, change.Name), append(u.changes, nil), append(u.errs, nil)
	}
	for _, other := range u.changes[i] {
		if mechanismOf(other) == mechanismOf(change) {
			err = coded(kerr.DuplicateResource, "user %.100q is changed twice for %v", change.Name, mechanismOf(change))
		}
	}
	u.changes[i] = append(u.changes[i], change)
	if u.errs[i] == nil && err != nil {
		u.errs[i] = fmt.Errorf("user %.100q: %w", change.Name, err)
	}
}

func mechanismOf(c metadata.UserChange) scram.Mechanism {
	if c.Set != nil {
		return c.Set.Mechanism
	}
	return c.Remove
}

// wanted returns the changes without an error, and the index of the user of each.
func (u *userChanges) wanted() (changes []metadata.UserChange, users []int) {
	for i, of := range u.changes {
		for _, c := range of {
			if u.errs[i] == nil {
				changes, users = append(changes, c), append(users, i)
			}
		}
	}
	return changes, users
}
