package minio

import (
	"errors"
	"fmt"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// explain says what failed, and where.
func (s *Store) explain(verb, key string, err error) error {
	return fmt.Errorf("%s object %q in %s: %w", verb, key, s.url, classify(err))
}

// classify adds the sentinel that callers decide on, where the answer leaves no
// doubt; all other errors remain as they are, and unknown.
func classify(err error) error {
	answer := answerOf(err)
	if answer.StatusCode == 0 {
		return err
	}
	sentinel := sentinelOf(answer)
	if sentinel == nil {
		return fmt.Errorf("status %d, code %s: %w", answer.StatusCode, answer.Code, err)
	}
	return fmt.Errorf("%w: status %d, code %s: %w", sentinel, answer.StatusCode, answer.Code, err)
}

// answerOf returns the store's answer, or one with status 0 if err is none.
func answerOf(err error) minio.ErrorResponse {
	var answer minio.ErrorResponse
	errors.As(err, &answer)
	return answer
}

func sentinelOf(answer minio.ErrorResponse) error {
	// The SDK makes up NoSuchKey for any 404 without an S3 error in its body, as
	// proxies send it. Only a parsed error has the name of its element.
	if answer.XMLName.Local != "Error" {
		answer.Code = ""
	}
	return s3http.Sentinel(answer.StatusCode, answer.Code)
}
