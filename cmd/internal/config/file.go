package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest configuration file, in bytes.
const maxFile = 1 << 20

// readFile reads the settings of a YAML file: one mapping whose keys are the
// names of flags. A list counts as its items joined by commas.
func readFile(path string) (map[string]Value, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open --config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read --config: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read --config: %s is larger than %s; check that it is the right file", path, formatSize(maxFile))
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) { // an empty file, or only comments
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read --config: %s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read --config: %s: holds more than one YAML document; keep one", path)
	}
	return fileValues(path, doc.Content[0])
}

func fileValues(path string, root *yaml.Node) (map[string]Value, error) {
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: not a mapping; write one setting a line, like \"flush-interval: 250ms\"", path, root.Line)
	}
	var known []string
	for _, st := range settings {
		known = append(known, st.name)
	}
	values := map[string]Value{}
	for i := 0; i < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		at := fmt.Sprintf("%s:%d", path, key.Line)
		st, ok := lookup(key.Value)
		if remedy, was := removed[key.Value]; was {
			return nil, fmt.Errorf("%s: %s is not a setting any more; %s", at, key.Value, remedy)
		}
		if !ok {
			return nil, fmt.Errorf("%s: %q is not a setting; the nearest is %q", at, key.Value, nearest(key.Value, known))
		}
		if _, twice := values[st.name]; twice {
			return nil, fmt.Errorf("%s: %s is set twice", at, st.name)
		}
		v, err := scalar(node)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", at, st.name, err)
		}
		values[st.name] = Value{st.name, v, "file " + at}
	}
	return values, nil
}

// scalar returns the text of a value as it is in the file, so that the
// setting's own parser reads 0x10 or 1_000.
func scalar(node *yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return "", errors.New("has no value; write one, or leave the line out")
		}
		return node.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("a list may hold plain values only")
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("not a plain value; write one, or a list of them")
}
