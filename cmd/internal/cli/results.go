package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// outputFlag adds -o. The first format is the default, for people.
func outputFlag(cmd *cobra.Command, to *string, formats ...string) {
	choice(cmd, to, "output", "o", formats[0], "output format", formats...)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printTable(w io.Writer, rows func(io.Writer)) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(tw)
	return tw.Flush()
}

// deed is the outcome for one thing that a command was asked to change, as -o
// json prints it.
type deed struct {
	Name   string `json:"name"`
	Result string `json:"result"` // "created", "exists", "deleted", "restored", "lost" or "failed"
	Error  string `json:"error,omitempty"`
}

// failed returns the deed for a thing that could not be changed because of err.
func failed(name string, err error) deed {
	return deed{Name: name, Result: "failed", Error: explain(err)}
}

// printDeeds prints the outcomes for things of one kind. As text, it leaves
// failures to the error that ends the command.
func printDeeds(w io.Writer, output, kind string, deeds []deed) error {
	if output == "json" {
		return printJSON(w, deeds)
	}
	for _, d := range deeds {
		var err error
		switch d.Result {
		case "failed":
		case "exists":
			_, err = fmt.Fprintf(w, "%s %q exists\n", kind, d.Name)
		default:
			_, err = fmt.Fprintf(w, "%s %s %q\n", d.Result, kind, d.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dash returns text, or the dash that a table shows in place of an empty one.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
