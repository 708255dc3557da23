package s3

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// explain says what failed, and where.
func (s *Store) explain(verb, key string, err error) error {
	return fmt.Errorf("%s object %q in %s: %w", verb, key, s.url, classify(err))
}

// classify adds the sentinel that callers decide on, where the answer leaves no
// doubt; all other errors remain as they are, and unknown.
func classify(err error) error {
	status, code := answerOf(err)
	if sentinel := s3http.Sentinel(status, code); sentinel != nil {
		return fmt.Errorf("%w: %w", sentinel, err)
	}
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && status >= 300 && status < 500 {
		if region := answer.Response.Header.Get("X-Amz-Bucket-Region"); region != "" {
			return fmt.Errorf("the bucket is in region %s: %w", region, err)
		}
	}
	return err
}

// answerOf returns status and error code of the store's answer, or status 0 if
// err is none. Where the body names no code the SDK makes one of the status's
// text: "NotFound", "PreconditionFailed".
func answerOf(err error) (status int, code string) {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) {
		return 0, ""
	}
	var coded smithy.APIError
	if errors.As(err, &coded) {
		code = coded.ErrorCode()
	}
	return answer.HTTPStatusCode(), code
}
