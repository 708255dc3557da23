package s3http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
)

// Lifecycle is a lifecycle rule of a bucket.
type Lifecycle struct {
	ID, Prefix string
	Enabled    bool
	Tagged     bool   // it applies to objects with certain tags only
	Deed       string // its effect on current versions, for people; "" for none

	NoncurrentDays int // after which it removes noncurrent versions; 0: it does not
}

// unset are the codes of a bucket without the setting that was asked for.
var unset = map[string]bool{
	"NoSuchLifecycleConfiguration":         true,
	"ObjectLockConfigurationNotFoundError": true,
}

// Policy implements objstore.Policies.
func (s *Store) Policy(ctx context.Context) (objstore.Policy, error) {
	p := objstore.Policy{Versioning: objstore.VersioningUnknown, Lock: "unknown"}
	for _, setting := range []struct {
		name string
		read func() error
	}{
		{"versioning", func() error {
			status, err := s.client.Versioning(ctx)
			if err == nil {
				p.Versioning = versioningOf(status)
			}
			return err
		}},
		{"Object Lock", func() error {
			lock, err := s.client.Lock(ctx)
			if err == nil || unset[s.client.Answer(err).Code] {
				p.Lock, err = lock, nil
			}
			if err == nil && lock == "" {
				p.Lock = "off"
			}
			return err
		}},
		{"lifecycle rules", func() error {
			rules, err := s.client.Lifecycle(ctx)
			if err == nil || unset[s.client.Answer(err).Code] {
				s.judge(&p, rules)
				err = nil
			}
			return err
		}},
	} {
		err := setting.read()
		if err == nil {
			continue
		}
		failure := fmt.Errorf("the %s of bucket %q cannot be read: %w", setting.name, s.bucket, s.classify(err))
		if !s.hides(err) {
			return objstore.Policy{}, failure
		}
		p.Unread = append(p.Unread, failure)
	}
	return p, nil
}

// hides reports whether an error means that the store does not show a setting, now or
// later: it is denied, or the store has no such request.
func (s *Store) hides(err error) bool {
	answer := s.client.Answer(err)
	switch answer.Status {
	case http.StatusNotImplemented:
		return true
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return answer.Status >= 400 && answer.Status < 500 && !errors.Is(s.classify(err), objstore.ErrNoBucket)
}

// versioningOf reads the status of versioning. A bucket that never had versions has none.
func versioningOf(status string) objstore.Versioning {
	switch status {
	case "":
		return objstore.VersioningOff
	case "Enabled":
		return objstore.VersioningEnabled
	case "Suspended":
		return objstore.VersioningSuspended
	}
	return objstore.VersioningUnknown
}

// judge notes the rules that apply to objects of the store. They have no tags, so a rule
// for tags does not.
func (s *Store) judge(p *objstore.Policy, rules []Lifecycle) {
	for _, r := range rules {
		if !r.Enabled || r.Tagged {
			continue
		}
		covers := strings.HasPrefix(s.prefix, r.Prefix)
		if r.Deed != "" && (covers || strings.HasPrefix(r.Prefix, s.prefix)) {
			p.Harmful = append(p.Harmful, objstore.Rule{ID: r.ID, Prefix: r.Prefix, Deed: r.Deed})
		}
		if r.NoncurrentDays > 0 && covers && (p.NoncurrentDays == 0 || r.NoncurrentDays < p.NoncurrentDays) {
			p.NoncurrentDays = r.NoncurrentDays
		}
	}
}
