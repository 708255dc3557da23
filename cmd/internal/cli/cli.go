// Package cli is the command line of varve: the commands a person types, their
// output, and the exit codes that scripts decide on.
//
// It owns the commands, their flags and help, and the Kafka client behind
// topic, produce and consume. It promises that results go to standard output
// and everything else to standard error. An error is one line that says what to
// do. A record is never dropped in silence: produce says how many were
// acknowledged, and consume stops at the first one that it cannot read. It
// writes to the log through the Kafka protocol alone; the commands of `varve
// bucket` read it in the bucket. It never holds state between runs. The caller
// passes in the node behind `varve serve`.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varvelog/varve/cmd/internal/config"
)

// Exit codes. They are part of the interface, and the help lists them.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitUnsent      = 3
	ExitTakenOver   = 4
	ExitPermanent   = 5
	ExitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// Env is the world a command runs in.
type Env struct {
	Args    []string // without the program's name
	Environ []string // as os.Environ returns it
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer

	// Serve runs a node until ctx ends, and returns nil if it then stopped in
	// good order. It writes logs to stderr.
	Serve func(ctx context.Context, cfg config.Serve, stdout, stderr io.Writer) error
}

// getenv returns a variable of the given environment, "" if it is unset.
func (e *Env) getenv(name string) string {
	for _, entry := range e.Environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// Run executes one command line and returns the exit code. The end of ctx is an
// interruption: commands then stop in good order.
func Run(ctx context.Context, env Env) int {
	env.Stdout = resultWriter{env.Stdout}
	root := newRoot(&env)
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	addCompletion(root)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, errStdoutClosed) {
		return ExitOK
	}
	fmt.Fprintf(env.Stderr, "varve: %s\n", explain(err))
	return exitCode(err)
}

const rootLong = `varve is a Kafka-compatible log that lives in a bucket.

Start a node with "varve serve"; every Kafka client can then write to it and read
from it. The other commands are Kafka clients themselves, for work by hand and in
scripts.

Exit codes:
  0    done
  1    failed; the last line on standard error says why
  2    wrong usage or configuration; nothing was done
  3    produce: not every record was acknowledged; the summary says how many were
  4    serve: another node has taken over, below feature level 3
  5    serve: change something before it is started again
  130  interrupted before the work was done

Completion, for the shell at hand:
  source <(varve completion bash)         to keep it: in ~/.bashrc
  source <(varve completion zsh)          to keep it: in ~/.zshrc
  varve completion fish | source          to keep it: in ~/.config/fish/config.fish`

func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "varve",
		Short:         "A Kafka-compatible log that lives in a bucket",
		Long:          rootLong,
		Version:       thisBuild().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print the version")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) && cmd.Name() == "serve" {
			if remedy, was := config.Removed(unknown.GetSpecifiedName()); was {
				return usagef("--%s is not a setting any more; %s", unknown.GetSpecifiedName(), remedy)
			}
		}
		return usagef("%w; see \"%s --help\"", err, cmd.CommandPath())
	})
	root.AddCommand(
		newServe(env),
		newTopic(env),
		newProduce(env),
		newConsume(env),
		newCluster(env),
		newNode(env),
		newGroups(env),
		newBucket(env),
		newWAL(env),
		newBench(env),
		newVersion(env),
	)
	root.AddCommand(newHelpTopics()...)
	root.SetHelpCommand(newHelp(root))
	group(root)
	return root
}

// group makes a command that only holds others. Alone it shows its help, and an
// unknown word after it is a usage error.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

// unknownCommand is the error about a word that is no command under cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	hint := fmt.Sprintf("see \"%s --help\"", cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2 // edits; none are allowed otherwise
	near := cmd.SuggestionsFor(word)
	for _, c := range cmd.Commands() {
		if c.IsAdditionalHelpTopicCommand() && (strings.HasPrefix(c.Name(), word) || strings.HasPrefix(word, c.Name())) {
			near = append(near, c.Name())
		}
	}
	if len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return usagef("unknown command %q for %q; %s", word, cmd.CommandPath(), hint)
}

// addCompletion adds "completion", when the output streams are set.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			group(cmd)
		}
	}
}

// args turns the error of a cobra check of the arguments into a usage error.
func args(check cobra.PositionalArgs, usage string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) != nil {
			return usagef("%s takes %s; see \"%s --help\"", strings.TrimPrefix(cmd.CommandPath(), "varve "), usage, cmd.CommandPath())
		}
		return nil
	}
}
