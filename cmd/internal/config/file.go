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

// maxFile is the most that is read of a configuration file, in bytes.
const maxFile = 1 << 20

// readFile reads the settings of a YAML file: one mapping whose keys are the
// names of flags. Lists are taken as their items joined by commas.
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
		return nil, fmt.Errorf("read --config: %s is larger than %s; is it the right file?", path, formatSize(maxFile))
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
		if !ok {
			return nil, fmt.Errorf("%s: %q is no setting; the nearest is %q", at, key.Value, nearest(key.Value, known))
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

// scalar is the text of a value as it stands in the file, so that 0x10 or 1_000
// mean to the setting what they say.
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
				return "", errors.New("a list of plain values is wanted")
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("a plain value is wanted")
}
