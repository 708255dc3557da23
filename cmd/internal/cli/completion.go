package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/metadata/topicconfig"
)

// completionLimit is how long a shell waits for names from a broker: less than
// a person is willing to.
const completionLimit = 1500 * time.Millisecond

// completeNames offers names that a broker knows, but not those that are on the
// line already. It offers none if the broker does not answer in time.
func completeNames(env *Env, bootstrap *string, ask func(context.Context, *kgo.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, prefix string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
		defer cancel()
		client, err := connect(ctx, env, *bootstrap)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		names, err := ask(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			return !strings.HasPrefix(name, prefix) || slices.Contains(given, name)
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func completeTopics(env *Env, bootstrap *string) cobra.CompletionFunc {
	return completeNames(env, bootstrap, func(ctx context.Context, client *kgo.Client) ([]string, error) {
		topics, err := kadm.NewClient(client).ListTopics(ctx)
		return topics.Names(), err
	})
}

func completeGroups(env *Env, bootstrap *string) cobra.CompletionFunc {
	return completeNames(env, bootstrap, func(ctx context.Context, client *kgo.Client) ([]string, error) {
		groups, err := kadm.NewClient(client).ListGroups(ctx)
		return groups.Groups(), err
	})
}

// first offers names for the first argument only.
func first(names, others cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return others(cmd, given, prefix)
		}
		return names(cmd, given, prefix)
	}
}

// completeConfigs offers the keys of topic configuration. suffix is the text
// after a key on the command line.
func completeConfigs(suffix string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var keys []string
		for _, d := range topicconfig.Defs() {
			keys = append(keys, d.Name+suffix+"\t"+d.Doc)
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if suffix != "" {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return keys, directive
	}
}

// completeStarts offers beginnings of a value, for the user to continue.
func completeStarts(starts ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(starts, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace)
}

// completeServe offers values for the settings that have only a few.
func completeServe(cmd *cobra.Command) {
	for flag, words := range map[string][]string{
		"roles":      {"ingest,fetch,tiering", "ingest,fetch", "ingest", "fetch"},
		"log-level":  {"debug", "info", "warn", "error"},
		"log-format": {"text", "json"},
	} {
		complete(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	complete(cmd, "nats", completeStarts("embedded", "embedded://", "nats://"))
	complete(cmd, "bucket", completeStarts("file:///", "s3://", "minio://"))
	complete(cmd, "data-dir", completeFolders)
	complete(cmd, "config", cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt))
}

func completeFolders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}
