package node

import "time"

// every calls f at once and then once an interval, in a goroutine of its own.
// It returns a function that stops that, and waits for a call under way.
func every(interval time.Duration, f func()) (stop func() error) {
	stopping, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			f()
			select {
			case <-ticker.C:
			case <-stopping:
				return
			}
		}
	}()
	return func() error {
		close(stopping)
		<-done
		return nil
	}
}
