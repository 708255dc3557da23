package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// topLevel returns the raw values of the named fields of a JSON object; nil for
// a field that is missing or whose name is empty. The line has to be one valid
// JSON object. If a field stands twice, the first one counts.
func topLevel(line []byte, names ...string) ([][]byte, error) {
	if !json.Valid(line) {
		if bytes.IndexByte(line, 0) >= 0 {
			return nil, errors.New("not valid JSON: there are zero bytes in it, as in UTF-16; convert the input to UTF-8 first")
		}
		return nil, errors.New("not valid JSON")
	}
	line = bytes.TrimLeft(line, " \t\r\n")
	if line[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	values := make([][]byte, len(names))
	missing := 0
	for _, name := range names {
		if name != "" {
			missing++
		}
	}
	rest := skipSpace(line[1:])
	for missing > 0 && rest[0] == '"' {
		n := valueLength(rest)
		key := rest[:n]
		rest = skipSpace(skipSpace(rest[n:])[1:]) // the colon
		n = valueLength(rest)
		for i, name := range names {
			if name != "" && values[i] == nil && keyIs(key, name) {
				values[i] = rest[:n]
				missing--
			}
		}
		rest = skipSpace(rest[n:])
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return values, nil
}

// keyIs compares a quoted key with a name. Only keys with escapes are decoded.
func keyIs(quoted []byte, name string) bool {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == name
	}
	var key string
	return json.Unmarshal(quoted, &key) == nil && key == name
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// valueLength returns the length of the JSON value at the beginning of b.
func valueLength(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringLength(b[i:]) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of a number or word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// stringLength returns the length of the quoted string at the beginning of b.
func stringLength(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// keyOf returns the record key for a JSON value: the text of a string, or a
// number or word as it is written.
func keyOf(raw []byte, field string) ([]byte, error) {
	switch {
	case raw == nil:
		return nil, fmt.Errorf("no field %q for the key", field)
	case raw[0] == '{', raw[0] == '[', raw[0] == 'n':
		return nil, fmt.Errorf("field %q is no key; it has to be a string, a number, true or false", field)
	case raw[0] != '"':
		return raw, nil
	case !utf8.Valid(raw):
		return nil, fmt.Errorf("field %q is no key; it is not UTF-8", field)
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner, nil
	}
	var key string
	if err := json.Unmarshal(raw, &key); err != nil {
		return nil, fmt.Errorf("field %q: %w", field, err)
	}
	return []byte(key), nil
}

// timestampOf reads a time, in one of the forms of "varve help times", from a
// string or a number.
func timestampOf(raw []byte, field string) (time.Time, error) {
	if raw == nil {
		return time.Time{}, fmt.Errorf("no field %q for the timestamp", field)
	}
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return time.Time{}, fmt.Errorf("field %q: %w", field, err)
		}
		text = strings.TrimSpace(text)
	}
	t, err := parseMoment(text)
	if errors.Is(err, errNoTime) {
		t, err = parseEpoch(text)
	}
	if err == nil {
		return t, nil
	}
	const most = 60
	if len(raw) > most {
		raw = append(raw[:most:most], "..."...)
	}
	if errors.Is(err, errBeforeEpoch) {
		return time.Time{}, fmt.Errorf("field %q is no timestamp: %s; %w", field, raw, err)
	}
	return time.Time{}, fmt.Errorf(`field %q is no timestamp: %s; it takes %s, or a number since 1970; see "varve help times"`, field, raw, timeForms)
}
