package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const topicAlterLong = `Change the configuration of topics, or raise their number of partitions.

The broker first checks the whole request, for every topic; if it refuses any part,
nothing is changed. --dry-run stops there and shows the changes.

A topic with more partitions keeps its records where they are, but new records of
a key may go to another partition than the old ones: the order of records with one
key is lost at that point. The number of partitions cannot be lowered.`

// alteration holds the flags of `varve topic alter`.
type alteration struct {
	set        map[string]*string
	remove     []string
	partitions int // 0: as they are
	dryRun     bool
}

func newTopicAlter(env *Env, bootstrap *string) *cobra.Command {
	var a alteration
	var pairs []string
	var output string
	cmd := &cobra.Command{
		Use:   "alter NAME...",
		Short: "Change configuration, or add partitions",
		Long:  topicAlterLong,
		Example: `  varve topic alter events --config max.message.bytes=4194304 --config message.timestamp.type=LogAppendTime
  varve topic alter events clicks --delete-config max.message.bytes
  varve topic alter events --partitions 24 --dry-run`,
		Args: args(cobra.MinimumNArgs(1), "one or more topic names"),
		RunE: func(cmd *cobra.Command, names []string) error {
			var err error
			if a.set, err = parseConfigs(pairs); err != nil {
				return err
			}
			if err := a.check(cmd.Flags().Changed("partitions")); err != nil {
				return err
			}
			client, err := connect(cmd.Context(), env, *bootstrap)
			if err != nil {
				return err
			}
			defer client.Close()
			return interrupted(cmd.Context(), alterTopics(cmd.Context(), env, client, unique(names), a, output))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&pairs, "config", nil, "configuration to set, as `key=value`, repeatable")
	flags.StringArrayVar(&a.remove, "delete-config", nil, "configuration `key` to set back to the default, repeatable")
	complete(cmd, "config", completeConfigs("="))
	complete(cmd, "delete-config", completeConfigs(""))
	cmd.ValidArgsFunction = completeTopics(env, bootstrap)
	flags.IntVar(&a.partitions, "partitions", 0, "new `number` of partitions")
	flags.BoolVar(&a.dryRun, "dry-run", false, "let the broker check, show what would change, and change nothing")
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

func (a *alteration) check(partitions bool) error {
	if len(a.set)+len(a.remove) == 0 && !partitions {
		return usagef("nothing to change; give --config, --delete-config or --partitions")
	}
	if partitions && a.partitions < 1 {
		return usagef("--partitions %d: a topic has at least one", a.partitions)
	}
	for i, key := range a.remove {
		switch _, both := a.set[key]; {
		case key == "" || strings.Contains(key, "="):
			return usagef("--delete-config %q: write the key alone", key)
		case both:
			return usagef("--config and --delete-config both name %s; give one", key)
		case slices.Contains(a.remove[:i], key):
			return usagef("--delete-config %s is given twice", key)
		}
	}
	return nil
}

func (a *alteration) configs() (list []kadm.AlterConfig) {
	for key, value := range a.set {
		list = append(list, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: value})
	}
	for _, key := range a.remove {
		list = append(list, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
	}
	slices.SortFunc(list, func(a, b kadm.AlterConfig) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// altered is the output of `topic alter -o json` for a topic.
type altered struct {
	Name    string   `json:"name"`
	Result  string   `json:"result"` // "altered", or "checked" with --dry-run
	Changes []change `json:"changes"`
}

// change is one setting before and after.
type change struct {
	Setting string `json:"setting"` // key of a configuration, or "partitions"
	Old     string `json:"old"`
	New     string `json:"new"`
}

func alterTopics(ctx context.Context, env *Env, client *kgo.Client, names []string, a alteration, output string) error {
	admin := kadm.NewClient(client)
	noteEffects(env, a.set)
	results := []altered{}
	var growing []string
	for _, name := range names {
		partitions, err := lookUpTopic(ctx, env, client, name)
		if err != nil {
			return err
		}
		t := altered{Name: name, Result: "checked"}
		if t.Changes, err = a.changes(ctx, admin, name); err != nil {
			return err
		}
		if n := len(partitions); a.partitions > 0 && a.partitions != n {
			if a.partitions < n {
				return fmt.Errorf("topic %q has %d partitions, and their number cannot be lowered; nothing was changed", name, n)
			}
			growing = append(growing, name)
			t.Changes = append(t.Changes, change{"partitions", strconv.Itoa(n), strconv.Itoa(a.partitions)})
		}
		results = append(results, t)
	}
	// The broker checks everything first, so that all of it is changed or none.
	for _, dry := range []bool{true, false} {
		if !dry && a.dryRun {
			break
		}
		if err := a.apply(ctx, admin, names, growing, dry); err != nil {
			return err
		}
	}
	if !a.dryRun {
		for i := range results {
			results[i].Result = "altered"
		}
	}
	return printAltered(env, output, results, a.dryRun)
}

// changes compares the wanted settings with the current ones.
func (a *alteration) changes(ctx context.Context, admin *kadm.Client, name string) ([]change, error) {
	list := []change{}
	wanted := a.configs()
	if len(wanted) == 0 {
		return list, nil
	}
	now, err := topicConfigs(ctx, admin, name)
	if err != nil {
		return nil, fmt.Errorf("describe configuration of topic %q: %w", name, err)
	}
	for _, c := range wanted {
		ch := change{Setting: c.Name, Old: "?", New: "the default"}
		for _, n := range now {
			if n.Key == c.Name {
				ch.Old = configValue(n)
			}
		}
		if c.Value != nil {
			ch.New = *c.Value
		}
		list = append(list, ch)
	}
	return list, nil
}

// apply asks the broker to check, or to make, all changes.
func (a *alteration) apply(ctx context.Context, admin *kadm.Client, names, growing []string, dry bool) error {
	if len(growing) > 0 {
		update := admin.UpdatePartitions
		if dry {
			update = admin.ValidateUpdatePartitions
		}
		results, err := update(ctx, a.partitions, growing...)
		if err != nil {
			return fmt.Errorf("add partitions: %w", err)
		}
		for _, name := range growing {
			if r, ok := results[name]; !ok {
				return fmt.Errorf("add partitions to topic %q: the broker did not answer for it", name)
			} else if r.Err != nil {
				return fmt.Errorf("add partitions to topic %q: %w", name, withMessage(r.Err, r.ErrMessage))
			}
		}
	}
	configs := a.configs()
	if len(configs) == 0 {
		return nil
	}
	alter := admin.AlterTopicConfigs
	if dry {
		alter = admin.ValidateAlterTopicConfigs
	}
	results, err := alter(ctx, configs, names...)
	if err != nil {
		return fmt.Errorf("alter configuration: %w", err)
	}
	var errs []error
	answered := map[string]bool{}
	for _, r := range results {
		answered[r.Name] = true
		if r.Err != nil {
			errs = append(errs, fmt.Errorf("alter configuration of topic %q: %w", r.Name, withMessage(r.Err, r.ErrMessage)))
		}
	}
	for _, name := range names {
		if !answered[name] {
			errs = append(errs, fmt.Errorf("alter configuration of topic %q: the broker did not answer for it", name))
		}
	}
	return errors.Join(errs...)
}

func printAltered(env *Env, output string, results []altered, dryRun bool) error {
	if output == "json" {
		return printJSON(env.Stdout, results)
	}
	changes := 0
	err := printTable(env.Stdout, func(w io.Writer) {
		fmt.Fprintln(w, "TOPIC\tSETTING\tOLD\tNEW")
		for _, t := range results {
			for _, c := range t.Changes {
				changes++
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Name, c.Setting, cell(c.Old), cell(c.New))
			}
		}
	})
	if dryRun {
		fmt.Fprintln(env.Stderr, "varve: checked; nothing was changed (--dry-run)")
	} else if changes == 0 {
		fmt.Fprintln(env.Stderr, "varve: every setting has this value already; nothing was changed")
	}
	return err
}
