package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
)

// progress prints every progressInterval how much has been written.
type progress struct {
	commits, bytes atomic.Int64
	quit, done     chan struct{}
}

func startProgress(to io.Writer) *progress {
	p := &progress{quit: make(chan struct{}), done: make(chan struct{})}
	go p.run(to)
	return p
}

func (p *progress) run(to io.Writer) {
	defer close(p.done)
	begin, said := time.Now(), false
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	line := func() {
		fmt.Fprintf(to, "gitlog: %s commits, %s, %v\n", humanize.Comma(p.commits.Load()),
			humanize.IBytes(uint64(p.bytes.Load())), time.Since(begin).Round(100*time.Millisecond))
	}
	for {
		select {
		case <-ticker.C:
			line()
			said = true
		case <-p.quit:
			if said {
				line()
			}
			return
		}
	}
}

func (p *progress) add(bytes int) {
	p.commits.Add(1)
	p.bytes.Add(int64(bytes))
}

// stop prints the final numbers, if any were printed before, and waits for
// that.
func (p *progress) stop() {
	close(p.quit)
	<-p.done
}
