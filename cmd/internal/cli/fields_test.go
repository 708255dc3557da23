package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// firstFields is topLevel by the standard library's decoder: slow, and right.
func firstFields(line []byte, name string) (raw []byte, object bool) {
	dec := json.NewDecoder(bytes.NewReader(line))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, false
		}
		if key == name && raw == nil {
			raw = value
		}
	}
	return raw, true
}

func FuzzTopLevelFindsWhatADecoderFinds(f *testing.F) {
	for _, line := range []string{
		`{}`, `{"k":1}`, ` { "a" : [1,{"k":2},"]}"] , "k" : "x\"y" } `, `{"k":{"k":1},"k":2}`, `{"\u006b":-1.5e3}`, `{"k":null,"z":true}`,
		`{"a":"\\","k":false}`, `[1]`, `"k"`, `1`, `{"k":1}{"k":2}`, ``, `{"k":`, `{"a":[[[]]],"k":[{}]}`, "{\"k\"\t:\r1\n}", `{"kk":1,"":2,"k":3}`,
	} {
		f.Add([]byte(line), "k")
	}
	f.Fuzz(func(t *testing.T, line []byte, name string) {
		got, err := topLevel(line, "", name)
		want, object := firstFields(line, name)
		valid := json.Valid(line) && object
		if valid != (err == nil) {
			t.Fatalf("%q: valid %v, error %v", line, valid, err)
		}
		if !valid || name == "" || !utf8.Valid(line) || !utf8.ValidString(name) {
			return
		}
		if got[0] != nil || !bytes.Equal(got[1], want) {
			t.Fatalf("%q: field %q is %q, want %q", line, name, got[1], want)
		}
	})
}

func TestKeysOfJSONValues(t *testing.T) {
	for raw, want := range map[string]string{`"a b"`: "a b", `""`: "", `"\u00e9\n"`: "é\n", `12.50`: "12.50", `true`: "true"} {
		if got, err := keyOf([]byte(raw), "f"); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", raw, got, err)
		}
	}
	for _, raw := range []string{`null`, `{}`, `[1]`, "\"\xff\""} {
		if got, err := keyOf([]byte(raw), "f"); err == nil {
			t.Errorf("%s: got %q", raw, got)
		}
	}
	if got, err := keyOf([]byte(`""`), "f"); err != nil || got == nil {
		t.Error("an empty key is no missing key")
	}
}

func TestTimestampsOfJSONValues(t *testing.T) {
	for raw, want := range map[string]string{
		`"2024-05-01T12:00:00+02:00"`: "2024-05-01T10:00:00Z",
		`" 2024-05-01T12:00:00Z "`:    "2024-05-01T12:00:00Z",
		`"2024-05-01T12:00:00\u005a"`: "2024-05-01T12:00:00Z",
		`1714557600`:                  "2024-05-01T10:00:00Z",
		`1714557600.25`:               "2024-05-01T10:00:00.25Z",
		`1.7145576e9`:                 "2024-05-01T10:00:00Z",
		`"1714557600"`:                "2024-05-01T10:00:00Z",
		`20240501`:                    "2024-05-01T00:00:00Z",
	} {
		got, err := timestampOf([]byte(raw), "f")
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", raw, got.UTC(), err, want)
		}
	}
	for _, raw := range []string{`-1`, `1e300`, `true`, `null`, `{}`, `[1]`, `9999999999999999999999`, `"` + strings.Repeat("x", 500) + `"`} {
		got, err := timestampOf([]byte(raw), "f")
		if err == nil || !strings.Contains(err.Error(), `field "f"`) || len(err.Error()) > 400 {
			t.Errorf("%s: got %v, %v", raw, got, err)
		}
	}
}
