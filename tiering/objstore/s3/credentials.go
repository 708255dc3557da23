package s3

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/varvelog/varve/tiering/objstore"
)

// required makes objstore.ErrDenied, with a remedy, of finding no credentials. Once there
// were some, the service that hands them out may have a passing trouble: that remains an
// error without a meaning.
type required struct {
	provider aws.CredentialsProvider
	found    atomic.Bool
}

// Retrieve implements aws.CredentialsProvider.
//
// Causes are not wrapped: the answer of another service, such as a 404 of the
// machine's, must not be taken for one of the store.
func (r *required) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, err := r.provider.Retrieve(ctx)
	switch {
	case err == nil && credentials.HasKeys():
		r.found.Store(true)
		return credentials, nil
	case ctx.Err() != nil:
		return aws.Credentials{}, ctx.Err()
	case err == nil:
		return aws.Credentials{}, fmt.Errorf("%w: %s has no keys", objstore.ErrDenied, credentials.Source)
	case r.found.Load():
		return aws.Credentials{}, fmt.Errorf("renew credentials: %v", err)
	}
	return aws.Credentials{}, fmt.Errorf("%w: no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
		"or write ~/.aws/credentials and set AWS_PROFILE, or give the machine or the pod a role (%v)", objstore.ErrDenied, err)
}
