package s3

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// Versioning implements s3http.Client.
func (c *client) Versioning(ctx context.Context) (string, error) {
	out, err := c.reads.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &c.bucket})
	if err != nil {
		return "", err
	}
	return string(out.Status), nil
}

// Lock implements s3http.Client.
func (c *client) Lock(ctx context.Context) (string, error) {
	out, err := c.reads.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &c.bucket})
	if err != nil || out.ObjectLockConfiguration == nil {
		return "", err
	}
	lock := out.ObjectLockConfiguration
	if lock.Rule == nil || lock.Rule.DefaultRetention == nil {
		return strings.ToLower(string(lock.ObjectLockEnabled)), nil
	}
	retention := lock.Rule.DefaultRetention
	if years := aws.ToInt32(retention.Years); years > 0 {
		return fmt.Sprintf("%s for %d years", retention.Mode, years), nil
	}
	return fmt.Sprintf("%s for %d days", retention.Mode, aws.ToInt32(retention.Days)), nil
}

// Lifecycle implements s3http.Client.
func (c *client) Lifecycle(ctx context.Context) ([]s3http.Lifecycle, error) {
	out, err := c.reads.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &c.bucket})
	if err != nil {
		return nil, err
	}
	rules := make([]s3http.Lifecycle, len(out.Rules))
	for i, r := range out.Rules {
		rules[i] = ruleOf(r)
	}
	return rules, nil
}

// ruleOf reads a rule, which has its prefix in one of three places.
func ruleOf(r types.LifecycleRule) s3http.Lifecycle {
	rule := s3http.Lifecycle{
		ID:      aws.ToString(r.ID),
		Prefix:  aws.ToString(r.Prefix),
		Enabled: r.Status == types.ExpirationStatusEnabled,
		Deed:    deed(r),
	}
	if f := r.Filter; f != nil {
		rule.Prefix = max(rule.Prefix, aws.ToString(f.Prefix))
		rule.Tagged = f.Tag != nil
		if f.And != nil {
			rule.Prefix = max(rule.Prefix, aws.ToString(f.And.Prefix))
			rule.Tagged = rule.Tagged || len(f.And.Tags) > 0
		}
	}
	if n := r.NoncurrentVersionExpiration; n != nil {
		rule.NoncurrentDays = int(aws.ToInt32(n.NoncurrentDays))
	}
	return rule
}

// deed returns the effect of a rule on current versions.
func deed(r types.LifecycleRule) string {
	switch e := r.Expiration; {
	case e != nil && e.Date != nil:
		return fmt.Sprintf("expires objects on %s", e.Date.Format("2006-01-02"))
	case e != nil && aws.ToInt32(e.Days) > 0:
		return fmt.Sprintf("expires objects after %d days", *e.Days)
	case len(r.Transitions) > 0:
		return fmt.Sprintf("moves objects to the storage class %s", r.Transitions[0].StorageClass)
	}
	known := r.Expiration != nil || r.NoncurrentVersionExpiration != nil || len(r.NoncurrentVersionTransitions) > 0 ||
		r.AbortIncompleteMultipartUpload != nil
	if !known { // such as MinIO's AllVersionsExpiration
		return "does something that varve does not know"
	}
	return ""
}
