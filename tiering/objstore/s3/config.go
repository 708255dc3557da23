package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// endpointRegion is the region to sign for at an endpoint without one in the settings:
// most stores take any, or this one.
const endpointRegion = "us-east-1"

// roleTimeout bounds each request to a service that hands out credentials. Most machines
// have none of their own. The SDK waits 500 ms for its answer, 5 s with all retries,
// before it reports that there are no credentials.
const roleTimeout = 5 * time.Second

// load reads the settings of environment and files; roots is nil unless they name
// certificates.
func load(ctx context.Context, cfg Config) (loaded aws.Config, roots *x509.CertPool, err error) {
	// LoadDefaultConfig fails if AWS_CA_BUNDLE is set and this is any other type. The
	// connections that its copies would keep could not be closed.
	client := awshttp.NewBuildableClient().WithTimeout(roleTimeout).
		WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithRetryer(readRetryer), // for those services
		config.WithLogger(logging.Nop{}),
		config.WithRegion(cfg.Region),
		config.WithDefaultsMode(aws.DefaultsModeStandard), // "auto" would ask the machine's service here
	}
	if cfg.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(cfg.Credentials))
	}
	loaded, err = config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("read environment and files of the AWS tools: %w", err)
	}
	loaded.Credentials = &required{provider: loaded.Credentials}
	if client, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok {
		if tls := client.GetTransport().TLSClientConfig; tls != nil {
			roots = tls.RootCAs
		}
	}
	return loaded, roots, nil
}

// Check returns an error if Open would refuse c, as far as c alone says.
func (c Config) Check() error {
	if err := checkBucket(c.Bucket); err != nil {
		return err
	}
	if _, err := s3http.CheckPrefix(c.Prefix); err != nil {
		return err
	}
	if _, err := s3http.CheckConnections(c.Concurrency); err != nil {
		return err
	}
	if c.Endpoint == "" {
		return nil
	}
	return checkEndpoint(c.Endpoint)
}

// checkReach returns an error unless the options, from Config, environment and files,
// say where the store is.
func checkReach(options s3.Options) error {
	if options.BaseEndpoint != nil {
		return checkEndpoint(*options.BaseEndpoint)
	}
	if options.Region == "" {
		return errors.New("no region: add region=eu-central-1, for example, or set AWS_REGION; " +
			"for a store that is not Amazon's, add endpoint=https://host:port")
	}
	return nil
}

func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil { // whose text may show a password
		return errors.New("endpoint cannot be read; write http://host:port or https://host:port")
	}
	switch {
	case u.User != nil:
		return errors.New("credentials do not belong in an endpoint; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", strings.HasSuffix(u.Host, ":"):
		return fmt.Errorf("endpoint %q: write http://host:port or https://host:port", endpoint)
	case strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return fmt.Errorf("endpoint %q: nothing may follow host:port", endpoint)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("endpoint %q: %s is not a port", endpoint, port)
		}
	}
	return nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// checkBucket returns an error unless name can be a bucket's. The SDK would take the name
// of an access point as well, and of a directory bucket, whose listings are in no order.
func checkBucket(name string) error {
	if !bucketName.MatchString(name) || strings.Contains(name, "..") || net.ParseIP(name) != nil {
		return errors.New("not a bucket's name: 3 to 63 lower-case letters, digits, dots and dashes")
	}
	if strings.HasSuffix(name, "--x-s3") {
		return errors.New("directory buckets (S3 Express) are not supported: they list objects in no order")
	}
	return nil
}
