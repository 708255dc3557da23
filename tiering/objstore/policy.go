package objstore

import (
	"context"
	"fmt"
	"strings"
)

// Versioning is whether a bucket keeps the older versions of its objects.
type Versioning string

// The states of versioning.
const (
	VersioningOff       Versioning = "off"
	VersioningEnabled   Versioning = "enabled"   // a Delete adds a marker, and the bytes stay
	VersioningSuspended Versioning = "suspended" // versions from before stay
	VersioningUnknown   Versioning = "unknown"
)

// Policy is the settings of a bucket by which the store itself keeps or removes objects.
type Policy struct {
	Versioning Versioning
	Lock       string // Object Lock: "off", "enabled", a default such as "COMPLIANCE for 30 days", or "unknown"

	// NoncurrentDays is after how many days a rule removes the bytes of deleted objects;
	// 0: never.
	NoncurrentDays int

	Harmful []Rule  // rules that remove or move objects which are in use
	Unread  []error // one for each setting that could not be read: denied, or not implemented
}

// Rule is a lifecycle rule that applies to objects of the store.
type Rule struct {
	ID     string
	Prefix string // in the bucket; "" for all of it
	Deed   string // such as "expires objects after 30 days"
}

// Policies is a Store whose bucket has such settings.
type Policies interface {
	// Policy reads them. Those that the store does not show are in Unread, also the
	// ones that the credentials may not read. After an error nothing is known.
	Policy(ctx context.Context) (Policy, error)
}

// ReadPolicy returns the settings of a store's bucket. A folder has none.
func ReadPolicy(ctx context.Context, store Store) (Policy, error) {
	if s, ok := store.(Policies); ok {
		return s.Policy(ctx)
	}
	return Policy{Versioning: VersioningOff, Lock: "off"}, nil
}

// Retains reports whether the bytes of deleted objects may stay in the bucket.
func (p Policy) Retains() bool {
	return p.Versioning == VersioningEnabled || p.Versioning == VersioningSuspended
}

// Check returns an ErrUnsafe if the store itself removes or moves objects in use.
func (p Policy) Check() error {
	if len(p.Harmful) == 0 {
		return nil
	}
	rules := make([]string, len(p.Harmful))
	for i, r := range p.Harmful {
		where := "of the whole bucket"
		if r.Prefix != "" {
			where = fmt.Sprintf("for the prefix %q", r.Prefix)
		}
		rules[i] = fmt.Sprintf("rule %q %s %s", r.ID, where, r.Deed)
	}
	return fmt.Errorf("the lifecycle of the bucket takes objects that are in use: %s. "+
		"Disable such rules, or limit them to other prefixes or to noncurrent versions; varve deletes its objects itself: %w",
		strings.Join(rules, "; "), ErrUnsafe)
}

// Warnings are the things that an operator should know, as sentences.
func (p Policy) Warnings() (warnings []string) {
	switch {
	case p.Versioning == VersioningEnabled && p.NoncurrentDays > 0:
		warnings = append(warnings, fmt.Sprintf("the bucket keeps versions: the bytes of deleted objects stay for %d more days", p.NoncurrentDays))
	case p.Versioning == VersioningEnabled:
		warnings = append(warnings, "the bucket keeps versions: deleted objects stay, and cost money, forever; "+
			"add a lifecycle rule that expires noncurrent versions")
	case p.Versioning == VersioningSuspended:
		warnings = append(warnings, "versioning of the bucket is suspended: versions from before stay when their objects are deleted")
	}
	if p.Lock != "off" && p.Lock != "unknown" && p.Lock != "" {
		warnings = append(warnings, fmt.Sprintf("Object Lock of the bucket is %s: until a lock ends, deleted objects stay", p.Lock))
	}
	for _, err := range p.Unread {
		warnings = append(warnings, fmt.Sprintf("%v: make sure by yourself that no rule expires or moves objects", err))
	}
	return warnings
}
