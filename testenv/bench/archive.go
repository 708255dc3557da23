package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/varvelog/varve/testenv/faultproxy"
)

// study is a case about an archive. It fills a bucket of its own, and returns a table.
type study struct {
	name  string
	about string
	run   func(ctx context.Context, l *lab) (*sheet, error)
}

// studies returns all of them.
func studies() []study {
	return []study{
		{"replay/100", "one partition of 100 that share a journal, read from its start, next to one that was alone", replayOf(100)},
		{"replay/1000", "the same with 1,000", replayOf(1000)},
		{"yield", "ingest next to merging, in turn with ingest alone", yieldOfMerging},
		{"verify", "bucket verify --records", verifyBucket},
		{"events", "JSON events, compressed by producers and by compression.type", compressEvents},
		{"trickle", "10,000 partitions that get a few records each, requests and dollars", trickleBucket},
	}
}

// sheet is the table of a study.
type sheet struct {
	Name    string     `json:"name"`
	Notes   []string   `json:"notes,omitempty"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

func (t *sheet) add(cells ...string) { t.Rows = append(t.Rows, cells) }

func (t *sheet) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

func (t *sheet) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s\n", t.Name)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	err := w.Flush()
	for _, note := range t.Notes {
		fmt.Fprintln(out, note)
	}
	return err
}

// lab has the flags and the MinIO of all studies.
type lab struct {
	o      *options
	stores *stores
	log    io.Writer
}

// openLab makes the folders, and starts a MinIO without a delay.
func (o *options) openLab(ctx context.Context, log io.Writer) (*lab, error) {
	if err := o.folders(ctx); err != nil {
		return nil, err
	}
	o.delay = faultproxy.Fault{}
	stores, err := startStores(ctx, o, []bench{{Store: minioStore}})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(o.dir))
	}
	return &lab{o: o, stores: stores, log: log}, nil
}

// close ends the MinIO, and removes the folders.
func (l *lab) close() error { return errors.Join(l.stores.close(), os.RemoveAll(l.o.dir)) }

// studyArchive runs the studies that the flags choose, and prints their tables.
func (o *options) studyArchive(ctx context.Context, out, log io.Writer) (err error) {
	var list []study
	for _, s := range studies() {
		if o.only.MatchString(s.name) {
			list = append(list, s)
		}
	}
	if o.list || len(list) == 0 {
		for _, s := range studies() {
			fmt.Fprintf(out, "%s: %s\n", s.name, s.about)
		}
		if len(list) == 0 {
			return errors.New("--only matches none of these")
		}
		return nil
	}
	l, err := o.openLab(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var tables []*sheet
	for _, s := range list {
		fmt.Fprintf(log, "%s: %s\n", s.name, s.about)
		t, failed := s.run(ctx, l)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", s.name, failed))
		}
		if t != nil {
			t.Name = s.name + ": " + s.about
			tables, err = append(tables, t), errors.Join(err, t.print(out))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if o.json == "" {
		return err
	}
	data, failed := json.MarshalIndent(tables, "", "  ")
	return errors.Join(err, failed, os.WriteFile(o.json, append(data, '\n'), 0o644))
}

func (l *lab) say(format string, args ...any) { fmt.Fprintf(l.log, "  "+format+"\n", args...) }

// site is a bucket with one node on it at a time.
type site struct {
	*lab
	place
	binary string
	flags  []string // of each node on it
	*node
}

// newSite starts a node on a new bucket.
func (l *lab) newSite(ctx context.Context, binary string, flags ...string) (*site, error) {
	p, err := l.stores.newPlace(l.o.dir, minioStore)
	if err != nil {
		return nil, err
	}
	s := &site{lab: l, place: p, binary: binary,
		flags: append([]string{"--bucket", p.url, "--create-bucket"}, l.o.serve...)}
	s.node, err = startNode(ctx, binary, p.dir, append(s.flags[:len(s.flags):len(s.flags)], flags...))
	if err != nil {
		return nil, errors.Join(err, p.remove(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// again ends the node in good order, and starts another one with these flags and empty
// memory. The store's files leave the system's memory, too.
func (s *site) again(ctx context.Context, flags ...string) error {
	s.args = append(s.flags[:len(s.flags):len(s.flags)], flags...)
	n, err := s.forget(ctx, s.binary)
	if err != nil {
		return err
	}
	s.node = n
	return dropPages(filepath.Join(s.o.dir, "minio"))
}

func (s *site) remove(ctx context.Context) error {
	return errors.Join(s.process.Kill(), s.place.remove(context.WithoutCancel(ctx)), syncAll(s.o.dir))
}
