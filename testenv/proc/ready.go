package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	readyInterval = 10 * time.Millisecond
	readyAnswer   = 5 * time.Second // of one question whether the process is ready
)

// AwaitReady waits until the process answers url with status 200. It returns an error with
// the last answer if the process ends before, or ctx.
func (p *Process) AwaitReady(ctx context.Context, url string) error {
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		last := answersOK(ctx, url)
		if last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("ended before it was ready: %w", errors.Join(p.err, last))
		case <-ctx.Done():
			return fmt.Errorf("is not ready: %w", errors.Join(ctx.Err(), last))
		case <-ticker.C:
		}
	}
}

func answersOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyAnswer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A connection that is kept open would outlive the process and its tests.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	reason, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	return errors.Join(fmt.Errorf("%s answers %s: %s", request.URL.Path, response.Status, bytes.TrimSpace(reason)), err)
}
