package node

import (
	"context"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
)

// checkPolicy reads the settings of the bucket, before anything is written to it. It
// returns an error if the store itself would remove or move objects. A node that only
// reads does no harm, and serves the objects that are there.
func (n *node) checkPolicy(ctx context.Context) error {
	err := n.patiently(ctx, "reading the settings of the bucket", func() (err error) {
		n.policy, err = objstore.ReadPolicy(ctx, n.store)
		return err
	})
	if ctx.Err() != nil || kindOf(err).ending == Permanent {
		return err
	}
	if err != nil { // a store that answers all else need not show its settings
		n.policy = objstore.Policy{Versioning: objstore.VersioningUnknown, Lock: "unknown", Unread: []error{err}}
	}
	n.metrics.policy(n.policy)
	for _, warning := range n.policy.Warnings() {
		n.log.Warn("settings of the bucket", "bucket", n.store.String(), "warning", warning)
	}
	if err := n.policy.Check(); err != nil && n.writes() {
		return fmt.Errorf("bucket %s: %w", n.store, err)
	} else if err != nil {
		n.log.Error("settings of the bucket", "bucket", n.store.String(), "error", err)
	}
	return nil
}

// policy shows the settings of the bucket.
func (m *metrics) policy(p objstore.Policy) {
	value := func(v float64) func() float64 { return func() float64 { return v } }
	retains := 0.0
	if p.Retains() {
		retains = 1
	}
	m.gauge("varve_bucket_retains_deleted", "1 if the bucket keeps versions, so that the bytes of deleted objects stay.", nil, value(retains))
	m.gauge("varve_bucket_harmful_rules", "Lifecycle rules that remove or move objects in use, as of the start.", nil, value(float64(len(p.Harmful))))
	m.gauge("varve_bucket_settings_unread", "Settings of the bucket that could not be read at the start.", nil, value(float64(len(p.Unread))))
}
