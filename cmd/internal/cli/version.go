package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/version"
	"github.com/varvelog/varve/metadata"
)

// build is the output of `version -o json`.
type build struct {
	Version      string `json:"version"`
	Go           string `json:"go"`
	Platform     string `json:"platform"`
	FeatureLevel uint16 `json:"feature_level"` // highest level of a cluster that it supports
}

func newVersion(env *Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  varve version
  varve version -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if output == "json" {
				return printJSON(env.Stdout, thisBuild())
			}
			_, err := fmt.Fprintln(env.Stdout, thisBuild())
			return err
		},
	}
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

func thisBuild() build {
	return build{version.String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, metadata.SupportedLevel}
}

func (b build) String() string { return fmt.Sprintf("varve %s %s %s", b.Version, b.Go, b.Platform) }
