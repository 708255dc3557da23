package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/proc"
)

// crash is an anomaly: a process ended in a way that no fault explains.
const crash history.Kind = "crash"

const (
	stopGrace    = 90 * time.Second // of SIGTERM: three times the limit of a node's flush
	restartPause = 300 * time.Millisecond
	pollReady    = 20 * time.Millisecond
)

// recovery is one start of a node, after its first, until it was ready.
type recovery struct {
	took        time.Duration
	undisturbed bool // node and store had no faults during the start
}

// node is a `varve serve` that is started again whenever it ends, as an init
// system would do.
type node struct {
	name    string
	kafka   string // host:port
	http    string
	dataDir string
	launch  func() (*proc.Process, error)

	history    *history.History
	disturbing *disturbances
	done       chan struct{} // closed when it runs no more
	retired    atomic.Bool   // the present life is the last

	mu struct {
		sync.Mutex
		process    *proc.Process // nil before the first start
		intended   bool          // the present process is being ended by us
		started    bool          // once, at least
		ready      bool
		between    func() // runs before the next start
		recoveries []recovery
		exits      []string // the unintended ones
	}
}

// run keeps the node running until ctx ends; then it is killed if it still runs.
func (n *node) run(ctx context.Context) {
	defer close(n.done)
	for ctx.Err() == nil && !n.retired.Load() {
		if err := n.once(ctx); err != nil {
			n.history.Note(crash, "%s does not start: %v", n.name, err)
			return
		}
	}
}

// once is one life of the process.
func (n *node) once(ctx context.Context) error {
	process, err := n.start()
	if err != nil {
		return err
	}
	n.awaitReady(ctx, process)
	select {
	case <-process.Done():
	case <-ctx.Done():
		n.mu.Lock()
		n.mu.intended = true
		n.mu.Unlock()
		if err := process.Kill(); err != nil {
			return err
		}
	}
	n.ended(process)
	return nil
}

func (n *node) start() (*proc.Process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.between != nil {
		n.mu.between()
		n.mu.between = nil
	}
	process, err := n.launch()
	if err != nil {
		return nil, err
	}
	n.mu.process, n.mu.intended, n.mu.ready = process, false, false
	return process, nil
}

// awaitReady waits until the node is ready, or ends.
func (n *node) awaitReady(ctx context.Context, process *proc.Process) {
	began, mark := time.Now(), n.disturbing.mark()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	ticker := time.NewTicker(pollReady)
	defer ticker.Stop()
	for {
		select {
		case <-process.Done():
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		response, err := client.Get("http://" + n.http + "/readyz")
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			n.mu.Lock()
			n.mu.ready = true
			if n.mu.started {
				n.mu.recoveries = append(n.mu.recoveries, recovery{time.Since(began), n.disturbing.noneSince(mark)})
			}
			n.mu.started = true
			n.mu.Unlock()
			return
		}
	}
}

// ended checks how the process ended.
func (n *node) ended(process *proc.Process) {
	err := process.Wait()
	output := process.Output()
	for _, sign := range []string{"panic:", "fatal error:", "DATA RACE"} {
		if at := strings.Index(output, sign); at >= 0 {
			n.history.Note(crash, "%s: %.2000s", n.name, output[at:])
		}
	}
	n.mu.Lock()
	n.mu.ready = false
	intended := n.mu.intended
	if !intended {
		n.mu.exits = append(n.mu.exits, fmt.Sprintf("%v: %s", err, lastLine(output)))
	}
	n.mu.Unlock()
	if intended {
		return
	}
	if n.disturbing.noneFor(time.Minute) {
		n.history.Note(crash, "%s ended by itself although nothing was wrong: %v: %s", n.name, err, lastLine(output))
	}
	time.Sleep(restartPause)
}

func lastLine(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return lines[len(lines)-1]
}

func (n *node) isReady() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.ready
}

// take returns the running process and marks its end as intended. between runs
// after that end.
func (n *node) take(between func()) *proc.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.intended, n.mu.between, n.mu.ready = true, between, false
	return n.mu.process
}

// kill ends the process as a crash would.
func (n *node) kill(between func()) error { return n.take(between).Kill() }

// terminate ends the process with SIGTERM.
func (n *node) terminate() error {
	err := n.take(nil).Stop(stopGrace)
	if errors.Is(err, proc.ErrForced) {
		n.history.Note(history.Stuck, "%s did not end within %v of SIGTERM", n.name, stopGrace)
	}
	return nil // the exit code shows whether all was flushed, which a fault may prevent
}

// retire ends the process with SIGTERM for good.
func (n *node) retire() error {
	process := n.take(nil)
	n.retired.Store(true)
	err := process.Stop(stopGrace)
	<-n.done
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

// pause stops the process for a while.
func (n *node) pause(ctx context.Context, span time.Duration) error {
	n.mu.Lock()
	process := n.mu.process
	n.mu.Unlock()
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	sleep(ctx, span)
	return process.Signal(syscall.SIGCONT)
}

// loseDisk removes the data folder, between two lives.
func (n *node) loseDisk() {
	n.history.DiskLost()
	if err := os.RemoveAll(n.dataDir); err != nil {
		n.history.Note(crash, "remove the data folder of %s: %v", n.name, err)
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// disturbances are the times during which the cluster had a fault.
type disturbances struct {
	mu     sync.Mutex
	active int
	count  int
	last   time.Time // when the last one ended
}

// begin begins one; the function it returns ends it.
func (d *disturbances) begin() (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active++
	d.count++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.active--
		d.last = time.Now()
	}
}

// mark returns a moment for noneSince; negative during a disturbance.
func (d *disturbances) mark() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active > 0 {
		return -1
	}
	return d.count
}

func (d *disturbances) noneSince(mark int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return mark == d.count
}

func (d *disturbances) noneFor(span time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.active == 0 && time.Since(d.last) > span
}
