package minio

import (
	"fmt"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/tiering/objstore"
)

// findCredentials returns the first credentials found in this order:
//   - AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN;
//   - MINIO_ROOT_USER with MINIO_ROOT_PASSWORD, or MINIO_ACCESS_KEY with MINIO_SECRET_KEY;
//   - the AWS credentials file (AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE);
//   - the MinIO client's file (the alias MINIO_ALIAS, or "s3");
//   - on Amazon also the role of the machine or the container.
//
// They are looked for when first needed, and again when they have expired.
func findCredentials(amazon bool) *credentials.Credentials {
	providers := []credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.EnvMinio{},
		&credentials.FileAWSCredentials{},
		&credentials.FileMinioClient{},
	}
	if amazon {
		providers = append(providers, &credentials.IAM{})
	}
	return credentials.New(required{&credentials.Chain{Providers: providers}})
}

// required makes an error of finding no credentials, or half of them. The chain
// alone would go on without a signature.
type required struct{ *credentials.Chain }

// Retrieve implements credentials.Provider.
func (r required) Retrieve() (credentials.Value, error) { return r.check(r.Chain.Retrieve()) }

// RetrieveWithCredContext implements credentials.Provider.
func (r required) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	return r.check(r.Chain.RetrieveWithCredContext(cc))
}

func (required) check(v credentials.Value, err error) (credentials.Value, error) {
	if err == nil && (v.AccessKeyID == "" || v.SecretAccessKey == "" || v.SignerType.IsAnonymous()) {
		err = fmt.Errorf("%w: no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
			"or MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or write ~/.aws/credentials", objstore.ErrDenied)
	}
	return v, err
}
