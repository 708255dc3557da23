package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// ErrScope: there is no such journal or topic in the bucket.
var ErrScope = errors.New("not in the bucket")

// Metadata is the state of journal 0.
type Metadata interface {
	// Apply takes the next valid object of journal 0.
	Apply(f *segment.Footer, entries []segment.Entry) error
	// Journals lists the data journals.
	Journals() []uint32
	// Topic finds a topic, a deleted one too, and the journals of its partitions
	// by index.
	Topic(name string) (id segment.ID, journals []uint32, ok bool)
	// Name is the name of a topic, empty if it is not known.
	Name(id segment.ID) string
	// Restore takes the state in a checkpoint of journal 0 in place of all before.
	Restore(state []byte) error
	// Is returns how the state in a checkpoint of journal 0 differs from the
	// applied one, nil if it does not.
	Is(state []byte) error
}

// Options selects the data to verify.
type Options struct {
	Metadata Metadata // nothing applied yet
	// CheckAttached returns why a leader could not start from the attachment of
	// a data journal's checkpoint, or nil. Without it, attachments are not
	// checked.
	CheckAttached func([]byte) error

	Journals  []uint32 // only these, and journal 0; nil: all
	Topic     string   // only objects that hold it, and the indexes of the others; empty: all
	Partition int32    // of Topic; -1: all
	Records   bool     // decompress batches and decode their records
	Indexes   bool     // only floors, checkpoints and index objects of the data journals

	Parallel int   // objects read ahead; default 8
	Memory   int64 // bytes of objects being read; default 256 MiB, at least one object's worth
}

// Verifier walks a bucket once.
type Verifier struct {
	store objstore.Store
	opt   Options
	topic segment.ID // of opt.Topic

	findings    findings
	report      Report
	checkpoints map[string]bool       // keys that floors name
	merged      map[segment.ID]uint32 // listed merged segments that no journal was found to know, with their sizes
	unsure      bool                  // an index page could not be read: a journal may know more of them

	listedObjects, totalObjects, totalBytes atomic.Int64
	doneObjects, doneBytes                  atomic.Int64
	at                                      atomic.Int64 // journal being walked; -1: listing
}

// Progress is how far a walk is. Totals are those of the journals begun so far,
// by the listing.
type Progress struct {
	Journal        int64 // being walked; -1: the bucket is being listed
	Listed         int64 // keys
	Objects, Bytes int64 // read
	TotalObjects   int64
	TotalBytes     int64
}

// New prepares a walk.
func New(store objstore.Store, opt Options) *Verifier {
	if opt.Parallel == 0 {
		opt.Parallel = 8
	}
	if opt.Memory == 0 {
		opt.Memory = 256 << 20
	}
	opt.Memory = max(opt.Memory, segment.MaxObjectSize)
	v := &Verifier{store: store, opt: opt, checkpoints: map[string]bool{}, merged: map[segment.ID]uint32{}}
	v.at.Store(-1)
	return v
}

// Progress may be called while Run runs.
func (v *Verifier) Progress() Progress {
	objects, bytes := v.doneObjects.Load(), v.doneBytes.Load()
	return Progress{
		Journal: v.at.Load(), Listed: v.listedObjects.Load(),
		Objects: objects, Bytes: bytes, // in a journal that grows, more than were listed
		TotalObjects: max(objects, v.totalObjects.Load()), TotalBytes: max(bytes, v.totalBytes.Load()),
	}
}

// Run walks the bucket. An error means that the walk did not reach the end: the
// store failed, ctx ended, or the scope is ErrScope. Damage in the bucket is in
// the report, whose Errors show whether it is sound.
func (v *Verifier) Run(ctx context.Context) (*Report, error) {
	cluster, err := v.readCluster(ctx)
	if err != nil {
		return nil, err
	}
	if cluster != nil {
		v.report.Cluster = cluster.ID.Base64()
		if _, err := replica.Read(ctx, v.store); errors.Is(err, replica.ErrUnfinished) || errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrUnsupported) {
			v.findings.add(&Finding{Severity: Error, Code: CodeCluster, Key: segment.CopyPrefix, What: err.Error(), Hint: "no node reads the bucket before"})
		} else if err != nil {
			return nil, fmt.Errorf("read the marks of copies of bucket %s: %w", v.store, err)
		}
		if err := v.walkAll(ctx, cluster); err != nil {
			return nil, err
		}
	}
	v.findings.into(&v.report, v.opt.Metadata.Name)
	return &v.report, nil
}

// readCluster returns nil if there is no usable cluster object.
func (v *Verifier) readCluster(ctx context.Context) (*segment.Cluster, error) {
	var b []byte
	err := v.try(ctx, func(ctx context.Context) (err error) {
		b, err = v.store.Get(ctx, segment.ClusterKey)
		return err
	})
	bad := &Finding{Severity: Error, Code: CodeCluster, Key: segment.ClusterKey, Hint: hintRestore + "; without it no node starts, and nothing can be verified"}
	if errors.Is(err, objstore.ErrNotFound) {
		bad.What = "missing: the bucket holds no cluster, or not all of it"
		v.findings.add(bad)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster object of bucket %s: %w", v.store, err)
	}
	cluster, err := segment.DecodeCluster(b)
	if errors.Is(err, segment.ErrUnsupported) {
		bad.Code, bad.Hint = CodeUnsupported, hintUpgrade
	}
	if err != nil {
		bad.What = err.Error()
		v.findings.add(bad)
		return nil, nil
	}
	return &cluster, nil
}

func (v *Verifier) everything() bool { return v.opt.Journals == nil && v.opt.Topic == "" }

func (v *Verifier) walkAll(ctx context.Context, cluster *segment.Cluster) error {
	inv := newInventory()
	prefix := ""
	if !v.everything() {
		prefix = segment.JournalPrefix(0)
	}
	if err := v.list(ctx, inv, prefix, ""); err != nil {
		return err
	}
	v.merged = inv.merged
	if err := v.walkJournal(ctx, cluster, inv, 0); err != nil {
		return err
	}
	sound := v.findings.counts[Error] == 0
	ids, err := v.scope(inv)
	if err != nil && sound {
		return err
	}
	for _, id := range ids {
		if err := v.walkData(ctx, cluster, inv, id, sound); err != nil {
			return err
		}
	}
	if err := v.names(ctx, cluster.ID, inv.topics); err != nil {
		return err
	}
	v.unknownKeys(inv)
	return v.orphans(ctx)
}

// scope lists the data journals to walk.
func (v *Verifier) scope(inv *inventory) ([]uint32, error) {
	named := v.opt.Metadata.Journals()
	var ids []uint32
	switch {
	case v.opt.Topic != "":
		id, journals, ok := v.opt.Metadata.Topic(v.opt.Topic)
		if !ok {
			return nil, fmt.Errorf("topic %q is %w", v.opt.Topic, ErrScope)
		}
		if int(v.opt.Partition) >= len(journals) {
			return nil, fmt.Errorf("partition %d of topic %q, which has %d, is %w", v.opt.Partition, v.opt.Topic, len(journals), ErrScope)
		}
		v.topic, ids = id, journals
		if p := v.opt.Partition; p >= 0 {
			ids = journals[p : p+1]
		}
	case v.opt.Journals != nil:
		ids = v.opt.Journals
		for _, id := range ids {
			if id != 0 && !slices.Contains(named, id) {
				return nil, fmt.Errorf("journal %d is %w", id, ErrScope)
			}
		}
	default:
		ids = slices.AppendSeq(named, maps.Keys(inv.journals))
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id uint32) bool { return id == 0 })
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// walkData walks a data journal. trust reports that the metadata is sound, so
// it knows every existing journal.
func (v *Verifier) walkData(ctx context.Context, cluster *segment.Cluster, inv *inventory, id uint32, trust bool) error {
	if !v.everything() {
		v.at.Store(-1)
		if err := v.list(ctx, inv, segment.JournalPrefix(id), ""); err != nil {
			return err
		}
	}
	if trust && !slices.Contains(v.opt.Metadata.Journals(), id) {
		v.findings.add(finding(Error, CodeUnnamed, id, segment.JournalPrefix(id), "objects were copied here, or the metadata journal is that of another bucket",
			"%d objects of a journal that the metadata does not name: no node reads them", inv.journal(id).count))
	}
	return v.walkJournal(ctx, cluster, inv, id)
}

func (v *Verifier) walkJournal(ctx context.Context, cluster *segment.Cluster, inv *inventory, id uint32) error {
	s := inv.journal(id)
	v.totalObjects.Add(s.count + int64(len(s.blobs)))
	v.totalBytes.Add(s.bytes)
	v.at.Store(int64(id))
	w := v.newWalk(cluster, s, id)
	err := w.run(ctx)
	for errors.Is(err, errDeleted) { // they are not listed any more
		again := newInventory()
		if err := v.list(ctx, again, segment.JournalPrefix(id), ""); err != nil {
			return err
		}
		w = v.newWalk(cluster, again.journal(id), id)
		err = w.run(ctx)
	}
	v.findings.move(&w.findings)
	v.report.Journals = append(v.report.Journals, w.report)
	if err != nil {
		return fmt.Errorf("walk journal %d of bucket %s: %w", id, v.store, err)
	}
	return nil
}

func (v *Verifier) newWalk(cluster *segment.Cluster, s *stored, id uint32) *walk {
	w := &walk{
		verifier: v, journal: id, stored: s, all: s, apply: v.opt.Metadata.Apply,
		chain: journal.NewChain(cluster.ID, id, int(cluster.Window)), partitions: newPartitions(),
		checkpoints: map[uint64]*journal.Checkpoint{}, planned: map[uint64]journal.FloorPlans{}, index: map[segment.IndexName]*indexObject{},
	}
	base := w.chain
	w.removed = restore.NewRemoved(v.store, func(uint32) journal.Chain { return base })
	if id != 0 {
		w.state = partlog.New(id)
		w.apply = w.state.Apply
	}
	return w
}

// orphans reports the merged segments that no journal knows. They were listed before the
// heads were read, and an intent comes before its objects.
func (v *Verifier) orphans(ctx context.Context) error {
	if !v.everything() || v.opt.Indexes || v.unsure || len(v.merged) == 0 || v.findings.counts[Error] > 0 {
		return nil
	}
	n, bytes := 0, int64(0)
	for _, prefix := range []string{segment.SharedPrefix, segment.TopicsPrefix} {
		err := v.store.List(ctx, prefix, "", func(i objstore.Info) error {
			name, ok := segment.ParseMergedKey(i.Key)
			if _, unknown := v.merged[name.Object]; !ok || !unknown {
				return nil
			}
			n++
			bytes += i.Size
			if n <= maxUnknown {
				v.findings.add(&Finding{Severity: Warning, Code: CodeOrphan, Key: i.Key, What: "a merged segment that no journal knows: no reader needs it", Hint: hintOrphan})
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %q of bucket %s: %w", prefix, v.store, err)
		}
	}
	if n > maxUnknown {
		v.findings.add(&Finding{Severity: Warning, Code: CodeOrphan, What: fmt.Sprintf("%d merged segments in all, of %d bytes, that no journal knows", n, bytes), Hint: hintOrphan})
	}
	return nil
}

// unknownKeys reports objects that varve did not write.
func (v *Verifier) unknownKeys(inv *inventory) {
	const hint = "nothing reads it; keep buckets, or prefixes, for varve alone"
	for _, key := range inv.unknown {
		if v.checkpoints[key] {
			continue
		}
		v.findings.add(&Finding{Severity: Warning, Code: CodeUnknownKey, Key: key, What: "varve writes no object with such a key", Hint: hint})
	}
	if inv.more > 0 {
		v.findings.add(&Finding{Severity: Warning, Code: CodeUnknownKey, What: fmt.Sprintf("%d more objects with keys that varve does not write", inv.more), Hint: hint})
	}
}
