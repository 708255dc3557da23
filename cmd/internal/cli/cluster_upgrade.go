package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka"
)

const clusterUpgradeLong = `Raise the feature level of a cluster, after its nodes run a new version.

A version of varve that brings new kinds of objects or entries writes none of them until
the level allows it. Until then the version before can open the bucket again. Afterwards
it cannot: it ends with a message that says so. A level is never lowered. A new cluster
begins with the highest level.

  1  the log itself
  2  merged segments, retention and log compaction: records that a topic is configured to
     drop are deleted from the bucket. In a cluster that is raised to it, nothing expires
     and nothing is compacted for the first 24 hours: check "varve topic describe" until
     then. Deleted topics can be restored for a while
  3  several nodes that write: journals move between them, and each of them may die`

// levels are the feature level of a cluster and the highest one that its broker knows.
type levels struct {
	Now       int16 `json:"level"`
	Supported int16 `json:"supported"`
}

func newClusterUpgrade(env *Env) *cobra.Command {
	var bootstrap, output string
	var to int16
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Raise the feature level",
		Long:  clusterUpgradeLong,
		Example: `  varve cluster upgrade --dry-run
  varve cluster upgrade --yes`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("to") && to < 1 {
				return usagef("--to %d: levels begin with 1", to)
			}
			client, err := connect(cmd.Context(), env, bootstrap)
			if err != nil {
				return err
			}
			defer client.Close()
			u := upgrade{to: to, dryRun: dryRun, yes: yes, output: output}
			return interrupted(cmd.Context(), u.run(cmd.Context(), env, client))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	bootstrapFlag(flags, &bootstrap)
	flags.Int16Var(&to, "to", 0, "`level` to raise to (default the highest that the cluster's nodes know)")
	flags.Lookup("to").DefValue = "0" // a value that the help leaves out
	flags.BoolVar(&dryRun, "dry-run", false, "let the broker check, show what would change, and change nothing")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

// upgrade holds the flags of `varve cluster upgrade`.
type upgrade struct {
	to     int16 // 0: the highest
	dryRun bool
	yes    bool
	output string
}

// upgraded is the output of `cluster upgrade -o json`.
type upgraded struct {
	Result string `json:"result"` // "upgraded", "checked" with --dry-run, or "unchanged"
	From   int16  `json:"from"`
	To     int16  `json:"to"`
}

func (u upgrade) run(ctx context.Context, env *Env, client *kgo.Client) error {
	known, err := readLevels(ctx, client)
	if err != nil {
		return err
	}
	to := cmp.Or(u.to, known.Supported)
	if to == known.Now {
		return u.print(env.Stdout, upgraded{"unchanged", known.Now, to})
	}
	if err := raiseLevel(ctx, client, to, true); err != nil {
		return err
	}
	if u.dryRun {
		return u.print(env.Stdout, upgraded{"checked", known.Now, to})
	}
	question := fmt.Sprintf("Raise the feature level from %d to %d? Older versions of varve cannot open the bucket afterwards.", known.Now, to)
	if err := agree(env, u.yes, question, "nothing was changed", "to raise it"); err != nil {
		return err
	}
	if err := raiseLevel(ctx, client, to, false); err != nil {
		return err
	}
	return u.print(env.Stdout, upgraded{"upgraded", known.Now, to})
}

func (u upgrade) print(w io.Writer, r upgraded) error {
	if u.output == "json" {
		return printJSON(w, r)
	}
	text := map[string]string{
		"unchanged": "the cluster has feature level %[2]d already",
		"checked":   "the cluster can be raised from feature level %d to %d; nothing was changed (--dry-run)",
		"upgraded":  "raised the cluster from feature level %d to %d",
	}[r.Result]
	_, err := fmt.Fprintf(w, text+"\n", r.From, r.To)
	return err
}

var errNoLevel = errors.New("the broker reports no feature level; is it varve?")

// readLevels asks a broker for the feature level.
func readLevels(ctx context.Context, client *kgo.Client) (l levels, err error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "varve", "1"
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return l, fmt.Errorf("read the feature level: %w", err)
	}
	for _, f := range resp.SupportedFeatures {
		if f.Name == kafka.LevelFeature {
			l.Supported = f.MaxVersion
		}
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == kafka.LevelFeature {
			l.Now = f.MaxVersionLevel
		}
	}
	if l.Supported == 0 || l.Now == 0 {
		return l, errNoLevel
	}
	return l, nil
}

// raiseLevel asks the controller to raise the feature level, or to check that it can.
func raiseLevel(ctx context.Context, client *kgo.Client, to int16, only bool) error {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.TimeoutMillis, req.ValidateOnly = int32(requestTimeout.Milliseconds()), only
	req.FeatureUpdates = append(req.FeatureUpdates, kmsg.UpdateFeaturesRequestFeatureUpdate{
		Feature: kafka.LevelFeature, MaxVersionLevel: to, UpgradeType: 1,
	})
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = withText(resp.ErrorCode, resp.ErrorMessage)
	}
	if err == nil {
		for _, r := range resp.Results {
			err = cmp.Or(err, withText(r.ErrorCode, r.ErrorMessage))
		}
	}
	if err != nil {
		return fmt.Errorf("raise the feature level to %d: %w", to, err)
	}
	return nil
}

// withText is the error of a code with the broker's message; nil if there is none.
func withText(code int16, text *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || text == nil {
		return err
	}
	return withMessage(err, *text)
}
