package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// States of a write-ahead log.
const (
	walAside   = "aside"
	walWaiting = "waiting"
	walInUse   = "in use"
)

// walLog is a write-ahead log in the output of `wal list -o json`. Null is not
// known.
type walLog struct {
	Journal     uint32     `json:"journal"`
	State       string     `json:"state"`
	Time        *time.Time `json:"time"` // when it was set aside
	Incarnation string     `json:"incarnation"`
	Batches     *uint64    `json:"batches"` // that can be read
	Records     *uint64    `json:"records"` // in those batches
	Bytes       *uint64    `json:"bytes"`   // that those batches take in the files
	Reason      string     `json:"reason,omitempty"`
	Damage      string     `json:"damage,omitempty"`
	Path        string     `json:"path,omitempty"`  // of a log set aside
	Missing     *int64     `json:"missing_records"` // how many of those records the journal does not have
	Exported    *time.Time `json:"exported"`        // when they were exported

	log  *wal.Incarnation // nil if nothing can or may be read
	opt  wal.Options      // of the journal
	info wal.AsideInfo    // of a log set aside
}

// readWALs reads the logs of all journals of a data folder. With an error it
// returns those that it could read.
func readWALs(ctx context.Context, path string) ([]*walLog, error) {
	logs := []*walLog{}
	id, err := datadir.Inspect(path)
	if err != nil {
		return nil, err
	}
	journals, err := datadir.Journals(path)
	if err != nil {
		return nil, err
	}
	if len(journals) > 0 && id.Cluster.IsZero() {
		return nil, fmt.Errorf("data folder %s has write-ahead logs, but its node belongs to no cluster: restore its node.json", path)
	}
	var errs []error
	for _, journal := range journals {
		opt := wal.Options{Dir: datadir.WAL(path, journal), Cluster: id.Cluster, Node: id.Node, Journal: journal}
		found, err := readJournalWALs(ctx, path, opt)
		logs = append(logs, found...)
		if err != nil {
			errs = append(errs, fmt.Errorf("journal %d: %w", journal, err))
		}
	}
	return logs, errors.Join(errs...)
}

// walUse describes the process that may be writing to a journal's logs.
type walUse struct {
	inUse  bool
	any    bool
	latest segment.ID // if any; if the folder is in use, it is being written
}

func readWALUse(path string, opt wal.Options) (u walUse, err error) {
	if u.inUse, err = datadir.InUse(path); err != nil {
		return u, err
	}
	u.latest, u.any, err = wal.Latest(opt)
	return u, err
}

const (
	walTries = 20
	walPause = 50 * time.Millisecond
)

// readJournalWALs reads the logs of a journal. A node may start during the
// read. The result counts only if no process can have written at the same time:
// the same process, or none, used the folder before and after. A node that
// starts also removes logs.
func readJournalWALs(ctx context.Context, path string, opt wal.Options) ([]*walLog, error) {
	for range walTries {
		before, err := readWALUse(path, opt)
		if err != nil {
			return nil, err
		}
		logs, err := before.read(opt)
		err = errors.Join(err, countWALs(ctx, logs))
		after, useErr := readWALUse(path, opt)
		if useErr != nil {
			return nil, useErr
		}
		if before == after && !errors.Is(err, fs.ErrNotExist) {
			return logs, err
		}
		select {
		case <-time.After(walPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, errors.New("a node is starting and changes the logs while they are read; try again")
}

// read lists the logs set aside, then the others, oldest first.
func (u walUse) read(opt wal.Options) ([]*walLog, error) {
	skip := opt
	if u.inUse && u.any {
		skip.Incarnation = u.latest
	}
	// In this order, a log that is set aside between the two reads is found
	// twice, not never.
	older, scanErr := wal.Scan(skip)
	set, asideErr := wal.Aside(opt)
	var logs []*walLog
	aside := map[segment.ID]bool{}
	for _, info := range set {
		aside[info.Incarnation] = true
		l := newWALLog(opt.Journal, walAside, info.Incarnation, info.Log)
		l.Time, l.Reason, l.Path, l.opt, l.info = &info.Time, info.Reason, info.Path, opt, info
		if info.Missing >= 0 {
			l.Missing = &info.Missing
		}
		if !info.Exported.IsZero() {
			l.Exported = &info.Exported
		}
		if info.Err != nil {
			l.Damage = oneLine(info.Err)
			asideErr = errors.Join(asideErr, fmt.Errorf("log %s: %w", info.Incarnation, info.Err))
		}
		logs = append(logs, l)
	}
	for _, inc := range older {
		if !aside[inc.ID] {
			logs = append(logs, newWALLog(opt.Journal, walWaiting, inc.ID, inc))
		}
	}
	if u.inUse && u.any && !aside[u.latest] {
		logs = append(logs, newWALLog(opt.Journal, walInUse, u.latest, nil))
	}
	return logs, errors.Join(scanErr, asideErr)
}

func newWALLog(journal uint32, state string, id segment.ID, log *wal.Incarnation) *walLog {
	l := &walLog{Journal: journal, State: state, Incarnation: id.String(), log: log}
	if log == nil {
		return l
	}
	batches, bytes := log.Records(), uint64(log.Bytes)
	l.Batches, l.Bytes = &batches, &bytes
	if log.Damage != nil {
		l.Damage = oneLine(log.Damage)
	}
	return l
}

func countWALs(ctx context.Context, logs []*walLog) error {
	var errs []error
	for _, l := range logs {
		if l.log == nil {
			continue
		}
		if err := l.count(ctx); err != nil {
			errs = append(errs, fmt.Errorf("log %s: %w", l.Incarnation, err))
		}
	}
	return errors.Join(errs...)
}

// count reads the log once more, to count the records in its batches.
func (l *walLog) count(ctx context.Context) error {
	var records uint64
	err := l.log.Read(l.log.FirstLSN, func(r wal.Record) error {
		h, err := batch.Parse(r.Batch)
		if err != nil {
			return fmt.Errorf("record %d: %w", r.LSN, err)
		}
		records += uint64(h.Records)
		return ctx.Err()
	})
	var damage *wal.DamageError
	if err != nil && !errors.As(err, &damage) { // damage is in the row already
		l.Damage = oneLine(err)
		return err
	}
	l.Records = &records
	return nil
}
