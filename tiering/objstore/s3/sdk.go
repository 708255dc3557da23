package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// readAttempts is how often a read is sent at most.
	readAttempts = 3
	// readBackoff bounds the wait after the first failure; it doubles.
	readBackoff = 200 * time.Millisecond
)

// newClient returns a client that keeps the driver's promises about requests, whatever
// environment and files say about retries and checksums.
func newClient(base aws.Config, cfg Config, transport http.RoundTripper, retryer aws.Retryer) *s3.Client {
	return s3.NewFromConfig(base, func(o *s3.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
		if o.Region == "" && o.BaseEndpoint != nil {
			o.Region = endpointRegion
		}
		o.UsePathStyle = cfg.PathStyle
		// Below an http.Client, so no redirect is followed: the SDK's own client
		// would send a PUT again for a 307.
		o.HTTPClient = smithyhttp.ClientDoFunc(transport.RoundTrip)
		o.Retryer = retryer
		// The default, WhenSupported, adds a CRC-32 where there is no checksum yet,
		// over https as a trailer in a chunked body that only some stores understand.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.ContinueHeaderThresholdBytes = -1 // no Expect: 100-continue, a round trip more
		o.DisableLogOutputChecksumValidationSkipped = true
		// X-Amz-Content-Sha256: UNSIGNED-PAYLOAD. For plain http as well, where the
		// SDK would hash the body otherwise.
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	})
}

// ownBody gives a transport a body of its own to send. The SDK closes the body that it made
// as soon as an answer begins. The transport may then look for the end of it in vain. It
// would close the connection in the middle of a long answer, such as that to a batch of
// deletes.
type ownBody struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t ownBody) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return t.next.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	if err := errors.Join(err, req.Body.Close()); err != nil {
		return nil, fmt.Errorf("read body of request: %w", err)
	}
	own := req.Clone(req.Context())
	own.Body, own.GetBody = io.NopCloser(bytes.NewReader(body)), nil
	return t.next.RoundTrip(own)
}

// readRetryer lets the SDK repeat a read after 5xx, throttling and broken connections. The
// SDK's usual limit on retries is off. During an outage it would turn every read into the
// error of a used-up budget, which says nothing about the cause.
func readRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = readAttempts
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return rand.N(readBackoff << min(attempt, readAttempts)), nil
		})
	})
}
