package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

const verifyLong = `Read a bucket from end to end and say what is wrong in it.

Every object of every journal is read in order: the chain that links them, all
checksums, each record batch, and that offsets follow each other without a gap. Of the
merged segments that hold older records, size, directory and index are read; --records
reads every byte of them, and decodes every record. No node needs to run; while nodes
run, the end of a journal may move, which is no damage. Nothing is ever written or
deleted.

Objects of a journal that were released and deleted are not missed: the walk then begins
at the checkpoint of the last floor but one, where a node could begin, and checks the
older ones that are still there by themselves. "varve bucket repair" makes lost copies of
index objects again.

A finding names the object, the place in it, and the records that it affects, as far
as they can be known. Findings are errors (something is lost, damaged or unreadable),
warnings (out of the ordinary, and no record is lost by it) or infos. With --records, a
batch whose records cannot be decoded though it is stored as its client sent it is a
warning of the kind "content": the log is intact.

Exit codes are 0 without errors, 1 with errors or when the bucket could not be
read to the end, 2 for wrong usage.`

// verifyFlags are the flags of `bucket verify`.
type verifyFlags struct {
	url, topic, output string
	journals           []uint
	records, progress  bool
}

func newBucketVerify(env *Env) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read a bucket from end to end and say what is wrong in it",
		Long:  verifyLong,
		Example: `  varve bucket verify --bucket file:///var/lib/varve/bucket
  varve bucket verify --bucket minio://127.0.0.1:9000/events/prod --records -o json
  varve bucket verify --bucket file:///var/lib/varve/bucket --topic events:3`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.url == "" {
				f.url = env.getenv(bucketEnv)
			}
			if f.url == "" {
				return usagef("which bucket? Add --bucket URL, or set %s", bucketEnv)
			}
			opt, err := f.options()
			if err != nil {
				return err
			}
			return verifyBucket(cmd.Context(), env, f.url, f.output, f.progress, opt)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.url, "bucket", "", "bucket `url` (default $"+bucketEnv+")")
	flags.UintSliceVar(&f.journals, "journal", nil, "only this journal `number`, repeatable; the metadata journal, 0, is read always")
	flags.Lookup("journal").DefValue = "" // a value that the help leaves out
	flags.StringVar(&f.topic, "topic", "", "only objects that hold this topic, as `name[:partition]`, and the indexes of the others")
	flags.BoolVar(&f.records, "records", false, "read every byte of merged segments too, and decode every record")
	complete(cmd, "bucket", completeStarts("file:///", "s3://", "minio://"))
	outputFlag(cmd, &f.output, "text", "json")
	progressFlag(flags, &f.progress)
	return cmd
}

func (f *verifyFlags) options() (verify.Options, error) {
	opt := verify.Options{Metadata: catalog{metadata.New()}, Records: f.records, Partition: -1,
		CheckAttached: func(b []byte) error { _, err := shard.DecodeSnapshots(b); return err }}
	if f.topic != "" && len(f.journals) > 0 {
		return opt, usagef("--topic and --journal exclude each other; give one")
	}
	for _, j := range f.journals {
		if uint64(j) > 1<<32-1 {
			return opt, usagef("--journal %d: a journal's number is at most 4294967295", j)
		}
		opt.Journals = append(opt.Journals, uint32(j))
	}
	name, partition, cut := strings.Cut(f.topic, ":")
	opt.Topic = name
	if cut {
		n, err := strconv.ParseInt(partition, 10, 32)
		if err != nil || n < 0 || name == "" {
			return opt, usagef("--topic %q: write name or name:partition, as in events:3", f.topic)
		}
		opt.Partition = int32(n)
	}
	return opt, nil
}

// catalog is the metadata as package verify asks for it.
type catalog struct{ *metadata.State }

// Apply implements verify.Metadata.
func (c catalog) Apply(f *segment.Footer, entries []segment.Entry) error {
	err := c.State.Apply(f, entries)
	if errors.Is(err, metadata.ErrTooOld) {
		return fmt.Errorf("%w: %w", segment.ErrUnsupported, err)
	}
	return err
}

// all calls fn with each topic, also with those being deleted.
func (c catalog) all(fn func(*metadata.Topic) bool) {
	for _, topics := range [][]*metadata.Topic{c.Topics(), c.Deleting()} {
		for _, t := range topics {
			if !fn(t) {
				return
			}
		}
	}
}

// Topic implements verify.Metadata.
func (c catalog) Topic(name string) (id segment.ID, journals []uint32, ok bool) {
	c.all(func(t *metadata.Topic) bool {
		if t.Name == name {
			id, ok = t.ID, true
			for _, p := range t.Partitions {
				journals = append(journals, p.Journal)
			}
		}
		return !ok
	})
	return id, journals, ok
}

// Is implements verify.Metadata.
func (c catalog) Is(state []byte) error {
	if !bytes.Equal(state, c.Encode()) {
		return errors.New("the topics and nodes differ")
	}
	return nil
}

// Name implements verify.Metadata.
func (c catalog) Name(id segment.ID) (name string) {
	c.all(func(t *metadata.Topic) bool {
		if t.ID == id {
			name = t.Name
		}
		return name == ""
	})
	return name
}

// verifyResult is the output of `bucket verify -o json`.
type verifyResult struct {
	Bucket string `json:"bucket"`
	Sound  bool   `json:"sound"` // no errors
	*verify.Report
	Objects int64   `json:"objects"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

func verifyBucket(ctx context.Context, env *Env, url, output string, asked bool, opt verify.Options) error {
	store, err := bucket.Open(ctx, url, false)
	if errors.Is(err, bucket.ErrURL) {
		return usageError{err}
	}
	if err != nil {
		return interrupted(ctx, err)
	}
	defer bucket.Close(store)
	v := verify.New(store, opt)
	began := time.Now()
	stop := showProgress(env, "bucket verify", asked, func() progress { return verifyProgress(v.Progress()) })
	report, err := v.Run(ctx)
	stop()
	if errors.Is(err, verify.ErrScope) {
		return usageError{err}
	}
	if err != nil {
		return interrupted(ctx, err)
	}
	p := v.Progress()
	result := verifyResult{
		Bucket: url, Sound: report.Errors == 0, Report: report,
		Objects: p.Objects, Bytes: p.Bytes, Seconds: time.Since(began).Seconds(),
	}
	if err := result.print(env.Stdout, output); err != nil {
		return err
	}
	if !result.Sound {
		return fmt.Errorf("bucket %s is not sound: %s", bucket.Redact(url), plural(report.Errors, "error"))
	}
	return nil
}

// verifyProgress is how far a walk is. The walk of one topic skips most bytes,
// and objects differ in size: the meter takes the count, of objects or bytes,
// that is further.
func verifyProgress(p verify.Progress) progress {
	if p.Journal < 0 {
		return progress{doing: "listing the bucket", unit: "objects", done: p.Listed}
	}
	return progress{doing: fmt.Sprintf("journal %d", p.Journal), unit: "objects",
		done: p.Objects, total: p.TotalObjects, bytes: p.Bytes, totalBytes: p.TotalBytes}
}

func (r *verifyResult) print(w io.Writer, output string) error {
	if output == "json" {
		return printJSON(w, r)
	}
	if err := printTable(w, r.journals); err != nil {
		return err
	}
	for i := range r.Findings {
		if err := printFinding(w, &r.Findings[i]); err != nil {
			return err
		}
	}
	if r.Omitted > 0 {
		if _, err := fmt.Fprintf(w, "\nand %s more\n", plural(r.Omitted, "finding")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s, %s in %.1f s (%.0f MB/s): %s\n",
		plural(int(r.Objects), "object"), humanize.IBytes(uint64(r.Bytes)), r.Seconds, float64(r.Bytes)/1e6/r.Seconds, r.verdict())
	return err
}

func (r *verifyResult) journals(w io.Writer) {
	fmt.Fprintln(w, "JOURNAL\tFLOOR\tHEAD\tEPOCH\tDATA\tFENCES\tFILLERS\tVOIDS\tSIZE\tPARTITIONS\tRECORDS\tMERGED")
	for _, j := range r.Journals {
		floor := "-"
		if j.Floor > 0 {
			floor = strconv.FormatUint(j.Floor, 10)
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%d\t%d\n", j.Journal, floor, j.Head, j.Epoch,
			j.Data, j.Fences, j.Fillers, j.Voids, humanize.IBytes(uint64(j.Bytes)), j.Partitions, j.Records, j.Merged)
	}
}

func printFinding(w io.Writer, f *verify.Finding) error {
	text := "\n" + string(f.Severity) + ": "
	if f.Key != "" {
		text += f.Key
		if f.Offset != nil {
			text += fmt.Sprintf(", byte %d", *f.Offset)
		}
		text += ": "
	}
	text += f.What + "\n"
	for _, a := range f.Affects {
		text += fmt.Sprintf("  affects %s\n", a)
	}
	if f.Hint != "" {
		text += "  " + f.Hint + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// verdict is the conclusion about a bucket.
func (r *verifyResult) verdict() string {
	if len(r.Findings) == 0 {
		return "sound"
	}
	text := "sound"
	if !r.Sound {
		text = "not sound"
	}
	return fmt.Sprintf("%s; %s, %s, %s", text, plural(r.Errors, "error"), plural(r.Warnings, "warning"), plural(r.Infos, "info"))
}

// plural is a number of things, as in "2 errors".
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return humanize.Comma(int64(n)) + " " + thing
}
