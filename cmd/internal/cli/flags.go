package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/config"
)

// choiceValue is a flag that takes one of a few words.
type choiceValue struct {
	to      *string
	choices []string
}

func (c *choiceValue) String() string { return *c.to }
func (c *choiceValue) Type() string   { return strings.Join(c.choices, "|") }
func (c *choiceValue) Set(s string) error {
	if !slices.Contains(c.choices, s) {
		return fmt.Errorf("choose %s", list(c.choices, "or"))
	}
	*c.to = s
	return nil
}

// choice adds a flag that takes one of the choices, with shell completion.
func choice(cmd *cobra.Command, to *string, name, short, def, doc string, choices ...string) {
	*to = def
	cmd.Flags().VarP(&choiceValue{to, choices}, name, short, doc)
	complete(cmd, name, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// complete sets the values that a shell offers for a flag.
func complete(cmd *cobra.Command, flag string, fn cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // only when the flag is missing or has one already
	}
}

// sizeValue is a flag that takes a number of bytes.
type sizeValue struct {
	to   *int64
	text string
}

func (v *sizeValue) String() string { return v.text }
func (v *sizeValue) Type() string   { return "size" }
func (v *sizeValue) Set(s string) error {
	n, err := config.ParseSize(s)
	if err != nil {
		return err
	}
	*v.to, v.text = n, s
	return nil
}

// separator returns the text between key and value that a flag gives; \t is a
// tab, because shells make it hard to type one.
func separator(flag string) string { return strings.ReplaceAll(flag, `\t`, "\t") }

// list joins words as in a sentence: a, b or c.
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}
