package config

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// Print writes every setting, its value and its source as a table, as json (an
// array of objects), or as yaml (a file that --config takes, sources as comments).
func (r *Resolved) Print(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.printTable(w)
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r.Values)
	case "yaml":
		return r.printYAML(w)
	}
	return fmt.Errorf("no output format is called %q; choose table, json or yaml", format)
}

func (r *Resolved) printTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SETTING\tVALUE\tSOURCE")
	for _, v := range r.Values {
		shown := v.Value
		if shown == "" {
			shown = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", v.Name, shown, v.Source)
	}
	return tw.Flush()
}

func (r *Resolved) printYAML(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, v := range r.Values {
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: v.Name}
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: v.Value, LineComment: v.Source}
		if st, _ := lookup(v.Name); st.kind != "bool" && st.kind != "int" {
			value.Tag = "!!str" // quoted if YAML would read another type
		}
		root.Content = append(root.Content, key, value)
	}
	data, err := yaml.Marshal(root)
	if err != nil {
		return fmt.Errorf("write configuration as YAML: %w", err)
	}
	_, err = w.Write(data)
	return err
}
