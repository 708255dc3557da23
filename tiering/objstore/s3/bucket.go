package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// EnsureBucket creates the bucket if it is missing. Losing to another creator
// of the same account is success.
func (s *Store) EnsureBucket(ctx context.Context) error {
	_, err := s.reads.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket})
	if err == nil {
		return nil
	}
	if status, _ := answerOf(err); status != http.StatusNotFound { // whose answer has no body to tell more
		return fmt.Errorf("look for bucket %q: %w", s.bucket, classify(err))
	}
	create := &s3.CreateBucketInput{Bucket: &s.bucket}
	// Amazon's first region is named by naming none.
	if region := s.reads.Options().Region; region != "us-east-1" {
		create.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(region),
		}
	}
	_, err = s.reads.CreateBucket(ctx, create)
	if _, code := answerOf(err); err != nil && code != s3http.BucketAlreadyOwnedByYou {
		return fmt.Errorf("create bucket %q: %w", s.bucket, classify(err))
	}
	return nil
}
