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

// deed is what became of one thing that a command was told to change, as
// -o json prints it.
type deed struct {
	Name   string `json:"name"`
	Result string `json:"result"` // "created", "exists", "deleted" or "failed"
	Error  string `json:"error,omitempty"`
}

// failed is the deed that err kept from being done.
func failed(name string, err error) deed {
	return deed{Name: name, Result: "failed", Error: explain(err)}
}

// printDeeds prints what was done to things of one kind. As text, failures are
// left to the error that the command ends with.
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

// dash is text, or what a table shows in the place of none.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
