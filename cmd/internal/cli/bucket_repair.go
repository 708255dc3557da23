package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/rebuild"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

const repairLong = `Make lost copies of index objects again. Index objects are stored twice, because they
lead to records that the journal does not have any more. When one copy is missing or
damaged, "varve bucket verify" names it, and this command writes it again from the
other one. Nodes may run next to it. Write access is needed.

Everything else that is lost can only be restored from a copy of the bucket. Index
objects of which both copies are lost are named, and the exit code is 1.`

func newBucketRepair(env *Env) *cobra.Command {
	var f bucketFlags
	var dry bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Make lost copies of index objects again",
		Long:  repairLong,
		Example: `  varve bucket repair --bucket file:///var/lib/varve/bucket --dry-run
  varve bucket repair --bucket 's3://events/prod?region=eu-central-1' -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := f.store(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer bucket.Close(store)
			return interrupted(cmd.Context(), repair(cmd.Context(), env, &f, store, dry))
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "name the lost copies, and write nothing")
	f.add(cmd, "text", "json")
	return cmd
}

func repair(ctx context.Context, env *Env, f *bucketFlags, store objstore.Store, dry bool) error {
	v := verify.New(store, verify.Options{Metadata: catalog{metadata.New()}, Partition: -1, Indexes: true})
	stop := showProgress(env, "bucket repair", f.progress, func() progress { return verifyProgress(v.Progress()) })
	report, err := v.Run(ctx)
	stop()
	if err != nil {
		return err
	}
	deeds := []deed{}
	var errs []error
	for i := range report.Findings {
		found := &report.Findings[i]
		switch {
		case found.Code == verify.CodeCopy && dry:
			deeds = append(deeds, deed{Name: found.Key, Result: "lost"})
		case found.Code == verify.CodeCopy:
			name, _ := segment.ParseIndexKey(*found.Journal, found.Key)
			d := deed{Name: found.Key, Result: "created"}
			if err := rebuild.RestoreCopy(ctx, store, name); err != nil {
				d = failed(found.Key, err)
				errs = append(errs, fmt.Errorf("%s: %w", found.Key, err))
			}
			deeds = append(deeds, d)
		case found.Severity == verify.Error:
			errs = append(errs, fmt.Errorf("%s: %s; run \"varve bucket verify\"", found.Key, found.What))
		}
	}
	if len(deeds)+len(errs) == 0 && f.output == "text" {
		_, err := fmt.Fprintln(env.Stdout, "no index object has lost a copy")
		return err
	}
	return errors.Join(errors.Join(errs...), printDeeds(env.Stdout, f.output, "index object", deeds))
}
