package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

const bucketEnv = "VARVE_BUCKET"

func newBucket(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bucket",
		Short: "Look after the bucket",
	}
	cmd.AddCommand(newBucketLs(env), newBucketStat(env), newBucketCat(env), newBucketExplain(env), newBucketHold(env), newBucketProbe(env), newBucketVerify(env), newBucketRepair(env), newBucketOrphans(env), newBucketCopy(env))
	group(cmd)
	return cmd
}

const probeLong = `Find out whether a bucket can hold a log.
Everything rests on one promise of the store: of many writers that create the same
object, exactly one succeeds. The probe races writers, creates twice, and reads
objects that do not exist, under <prefix>/probe/. A store that fails it must not be
used: records would be lost. It runs by itself when a cluster is created.

It makes some 600 requests, which takes about a second, and misses a store that lets
half of all second creates pass less than once in a million times. --thorough makes
some 2,200, for a store that breaks the promise only now and then. The probe removes
its objects, and those older than an hour that an interrupted probe has left.

It also reads the bucket's settings. Lifecycle rules that expire or move objects in use
are refused, as "varve serve" does. Where the bucket keeps versions, a warning says that
deleted objects stay.`

func newBucketProbe(env *Env) *cobra.Command {
	var url, output string
	var create, asked, thorough bool
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Find out whether a bucket can hold a log",
		Long:  probeLong,
		Example: `  varve bucket probe --bucket file:///var/lib/varve/bucket --create-bucket
  varve bucket probe --bucket 's3://events/prod?region=eu-central-1' --thorough -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				url = env.getenv(bucketEnv)
			}
			if url == "" {
				return usagef("which bucket? Add --bucket URL, or set %s", bucketEnv)
			}
			effort := objstore.Quick
			if thorough {
				effort = objstore.Thorough
			}
			return probe(cmd.Context(), env, url, create, effort, asked, output)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&url, "bucket", "", "bucket `url`: file:///path, s3://bucket/prefix or minio://host:port/bucket/prefix (default $"+bucketEnv+")")
	cmd.Flags().BoolVar(&create, "create-bucket", false, "create the bucket when it does not exist")
	cmd.Flags().BoolVar(&thorough, "thorough", false, "look harder: four times as many requests")
	complete(cmd, "bucket", completeStarts("file:///", "s3://", "minio://"))
	outputFlag(cmd, &output, "text", "json")
	progressFlag(cmd.Flags(), &asked)
	return cmd
}

// probeResult is the output of `bucket probe -o json`.
type probeResult struct {
	Bucket  string      `json:"bucket"`
	Verdict string      `json:"verdict"` // "safe", "unsafe", or "unknown" when it could not be found out
	Error   string      `json:"error,omitempty"`
	Steps   []probeStep `json:"steps"`
	Seconds float64     `json:"seconds"`

	Versioning objstore.Versioning `json:"versioning"`
	ObjectLock string              `json:"object_lock"`
	Warnings   []string            `json:"warnings"` // about the settings of the bucket
}

type probeStep struct {
	Name  string `json:"name"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// orCreate adds the flag with which the command would create a bucket that does not exist.
func orCreate(err error) error {
	if errors.Is(err, objstore.ErrNoBucket) {
		return fmt.Errorf("%w, or add --create-bucket", err)
	}
	return err
}

func probe(ctx context.Context, env *Env, url string, create bool, effort objstore.Effort, asked bool, output string) error {
	store, err := bucket.Open(ctx, url, create)
	if errors.Is(err, bucket.ErrURL) {
		return usageError{err}
	}
	if err != nil {
		return interrupted(ctx, orCreate(err))
	}
	defer bucket.Close(store)
	began := time.Now()
	result := probeResult{Bucket: bucket.Redact(url), Verdict: "safe", Steps: []probeStep{}, Warnings: []string{}}
	var now atomic.Pointer[objstore.Step]
	stop := showProgress(env, "bucket probe", asked, func() progress { return probeProgress(now.Load()) })
	err = objstore.Probe(ctx, store, segment.ProbePrefix, effort, func(s objstore.Step) {
		now.Store(&s)
		result.note(s)
	})
	stop()
	if err == nil {
		err = result.look(ctx, store)
	}
	if ctx.Err() != nil {
		return interrupted(ctx, err)
	}
	result.Seconds = time.Since(began).Seconds()
	switch {
	case errors.Is(err, objstore.ErrUnsafe):
		result.Verdict, result.Error = "unsafe", oneLine(err)
	case err != nil:
		result.Verdict, result.Error = "unknown", oneLine(err)
	}
	if printErr := result.print(env.Stdout, output); err == nil {
		err = printErr
	}
	return err
}

// probeProgress is how far the current step is. Steps differ in length, so the
// time left is not known.
func probeProgress(s *objstore.Step) progress {
	if s == nil {
		return progress{doing: "beginning"}
	}
	return progress{doing: fmt.Sprintf("%s, %d of %d", s.Name, s.Done, s.Total)}
}

// look reads the settings of the bucket. It returns an error if the store itself removes
// or moves objects.
func (r *probeResult) look(ctx context.Context, store objstore.Store) error {
	policy, err := objstore.ReadPolicy(ctx, store)
	if err != nil {
		return err
	}
	r.Versioning, r.ObjectLock = policy.Versioning, policy.Lock
	r.Warnings = append(r.Warnings, policy.Warnings()...)
	return policy.Check()
}

// note keeps the latest state of each step.
func (r *probeResult) note(s objstore.Step) {
	if n := len(r.Steps); n > 0 && r.Steps[n-1].Name == s.Name {
		r.Steps[n-1].Done = s.Done
	} else {
		r.Steps = append(r.Steps, probeStep{s.Name, s.Done, s.Total})
	}
}

// print writes the result. As text, it leaves the reason of a failure to the
// error.
func (r *probeResult) print(w io.Writer, output string) error {
	if output == "json" {
		return printJSON(w, r)
	}
	err := printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "TEST\tPASSED")
		for _, s := range r.Steps {
			fmt.Fprintf(w, "%s\t%d of %d\n", s.Name, s.Done, s.Total)
		}
	})
	for _, warning := range r.Warnings {
		if err == nil {
			_, err = fmt.Fprintf(w, "\nwarning: %s\n", warning)
		}
	}
	if err != nil || r.Verdict != "safe" {
		return err
	}
	_, err = fmt.Fprintf(w, "\nbucket %s can hold a log (probed in %.1f s)\n", r.Bucket, r.Seconds)
	return err
}
