package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
)

const (
	progressAfter = 2 * time.Second // until a command shows its progress
	progressEvery = time.Second
)

// progressFlag adds --progress.
func progressFlag(flags *pflag.FlagSet, to *bool) {
	flags.BoolVar(to, "progress", false, "show progress also when standard error is no terminal")
}

// progress is how far a command is. A total of 0 means that it is not known.
type progress struct {
	doing             string // in words, may be empty
	unit              string // of the count, as "records"; empty if nothing is counted
	done, total       int64
	bytes, totalBytes int64
}

// after describes the progress after elapsed: how far it is, how fast, and how
// long the rest will take. The count that is furthest gives the time left:
// things, and bytes of them, differ in size.
func (p progress) after(elapsed time.Duration) string {
	seconds := max(elapsed.Seconds(), 1e-3)
	var words []string
	if p.doing != "" {
		words = append(words, p.doing)
	}
	if p.unit != "" {
		words = append(words, outOf(p.done, p.total, humanize.Comma)+" "+p.unit)
	}
	if p.bytes > 0 {
		words = append(words, outOf(p.bytes, p.totalBytes, func(n int64) string { return humanize.Bytes(uint64(n)) }))
	}
	if p.unit != "" && p.done > 0 {
		words = append(words, humanize.Comma(int64(float64(p.done)/seconds))+" "+p.unit+"/s")
	}
	if p.bytes > 0 {
		words = append(words, fmt.Sprintf("%.1f MB/s", float64(p.bytes)/1e6/seconds))
	}
	if part := max(share(p.done, p.total), share(p.bytes, p.totalBytes)); part > 0 && part < 1 {
		left := time.Duration(float64(elapsed) * (1 - part) / part)
		words = append(words, left.Round(time.Second).String()+" left")
	} else {
		words = append(words, elapsed.Round(time.Second).String()+" so far")
	}
	return strings.Join(words, ", ")
}

func outOf(done, total int64, write func(int64) string) string {
	if total > 0 {
		return write(done) + " of " + write(total)
	}
	return write(done)
}

func share(done, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return float64(done) / float64(total)
}

// meter shows progress in one line: rewritten in place on a terminal, line by
// line elsewhere. It belongs to one goroutine.
type meter struct {
	out      io.Writer // standard error
	name     string    // of the command
	show     bool      // nothing is written otherwise
	terminal bool
	began    time.Time
	read     func() progress

	last    time.Time
	visible bool // text is on the terminal's line
}

// newMeter makes the meter of a command that begins now. Progress is shown at a
// terminal, and elsewhere if the user asked for it.
func newMeter(env *Env, name string, asked bool, read func() progress) *meter {
	terminal := isTerminal(env.Stderr)
	return &meter{out: env.Stderr, name: name, show: asked || terminal, terminal: terminal, began: time.Now(), read: read}
}

// tick shows progress if it is time.
func (m *meter) tick(now time.Time) {
	if !m.show || now.Sub(m.began) < progressAfter || now.Sub(m.last) < progressEvery {
		return
	}
	m.last = now
	m.erase()
	fmt.Fprintf(m.out, "varve: %s: %s", m.name, m.read().after(now.Sub(m.began)))
	if m.visible = m.terminal; !m.terminal {
		fmt.Fprintln(m.out)
	}
}

// note writes a line of its own, and keeps the progress below it.
func (m *meter) note(format string, a ...any) {
	m.erase()
	fmt.Fprintf(m.out, "varve: "+format+"\n", a...)
}

// erase removes the progress from a terminal's line, before other text is
// written there.
func (m *meter) erase() {
	if m.visible {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.visible = false
	}
}

// showProgress runs a meter until stop is called. Until then, only the meter
// may write to standard error.
func showProgress(env *Env, name string, asked bool, read func() progress) (stop func()) {
	m := newMeter(env, name, asked, read)
	if !m.show {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				m.erase()
				return
			case now := <-ticker.C:
				m.tick(now)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
