package minio

import (
	"context"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// Versioning implements s3http.Client.
func (c *client) Versioning(ctx context.Context) (string, error) {
	v, err := c.reads.GetBucketVersioning(ctx, c.bucket)
	return v.Status, err
}

// Lock implements s3http.Client.
func (c *client) Lock(ctx context.Context) (string, error) {
	lock, mode, validity, unit, err := c.reads.GetObjectLockConfig(ctx, c.bucket)
	if err != nil || mode == nil || validity == nil || unit == nil {
		return strings.ToLower(lock), err
	}
	return fmt.Sprintf("%s for %d %s", *mode, *validity, strings.ToLower(string(*unit))), nil
}

// Lifecycle implements s3http.Client.
func (c *client) Lifecycle(ctx context.Context) ([]s3http.Lifecycle, error) {
	config, err := c.reads.GetBucketLifecycle(ctx, c.bucket)
	if err != nil {
		return nil, err
	}
	rules := make([]s3http.Lifecycle, len(config.Rules))
	for i, r := range config.Rules {
		rules[i] = ruleOf(r)
	}
	return rules, nil
}

// ruleOf reads a rule, which has its prefix in one of three places.
func ruleOf(r lifecycle.Rule) s3http.Lifecycle {
	filter := r.RuleFilter
	return s3http.Lifecycle{
		ID:      r.ID,
		Prefix:  max(r.Prefix, filter.Prefix, filter.And.Prefix),
		Enabled: r.Status == "Enabled",
		Tagged:  filter.Tag.Key != "" || len(filter.And.Tags) > 0,
		Deed:    deed(r),

		NoncurrentDays: int(r.NoncurrentVersionExpiration.NoncurrentDays),
	}
}

// deed returns the effect of a rule on current versions.
func deed(r lifecycle.Rule) string {
	switch {
	case !r.Expiration.IsDateNull():
		return fmt.Sprintf("expires objects on %s", r.Expiration.Date.Format("2006-01-02"))
	case !r.Expiration.IsDaysNull():
		return fmt.Sprintf("expires objects after %d days", r.Expiration.Days)
	case !r.AllVersionsExpiration.IsNull():
		return fmt.Sprintf("expires all versions of objects after %d days", r.AllVersionsExpiration.Days)
	case !r.Transition.IsNull():
		return fmt.Sprintf("moves objects to the storage class %s", r.Transition.StorageClass)
	}
	return ""
}
