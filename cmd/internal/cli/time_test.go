package cli

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// now is where "how long ago" counts from in these tests.
var now = time.Date(2024, 5, 31, 12, 0, 0, 0, time.UTC)

func TestTimesOfAllForms(t *testing.T) {
	for text, want := range map[string]string{
		"2024-05-01":                       "2024-05-01T00:00:00Z",
		"2024/05/01":                       "2024-05-01T00:00:00Z",
		"20240501":                         "2024-05-01T00:00:00Z",
		"2024-02-29":                       "2024-02-29T00:00:00Z",
		"2024-05-01T12:30":                 "2024-05-01T12:30:00Z",
		"2024-05-01 12:30":                 "2024-05-01T12:30:00Z",
		"2024-05-01t12:30:15z":             "2024-05-01T12:30:15Z",
		"2024-05-01 12:30:15.5":            "2024-05-01T12:30:15.5Z",
		"2024-05-01 12:30:15,123":          "2024-05-01T12:30:15.123Z",
		"2024-05-01T12:30:15.123456":       "2024-05-01T12:30:15.123456Z",
		"2024-05-01T12:30:15.1234567891":   "2024-05-01T12:30:15.123456789Z",
		"2024-05-01T12:30:15+02:00":        "2024-05-01T10:30:15Z",
		"2024-05-01T12:30:15+0200":         "2024-05-01T10:30:15Z",
		"2024-05-01T12:30:15-03":           "2024-05-01T15:30:15Z",
		"2024-05-01T12:30-0330":            "2024-05-01T16:00:00Z",
		"2024-05-01 12:30:15 +0200":        "2024-05-01T10:30:15Z",
		"2024-05-01 12:30:15.25 UTC":       "2024-05-01T12:30:15.25Z",
		"2024-05-01 12:30:15 GMT":          "2024-05-01T12:30:15Z",
		"2016-12-31T23:59:60Z":             "2017-01-01T00:00:00Z",
		"20240501T123015Z":                 "2024-05-01T12:30:15Z",
		"20240501T1230+02":                 "2024-05-01T10:30:00Z",
		"20240501123015":                   "2024-05-01T12:30:15Z",
		"20240501123015.25":                "2024-05-01T12:30:15.25Z",
		"1970-01-01T01:00:00+01:00":        "1970-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999Z":         "9999-12-31T23:59:59.999Z",
		"0":                                "1970-01-01T00:00:00Z",
		"1714557600":                       "2024-05-01T10:00:00Z",
		"1714557600.25":                    "2024-05-01T10:00:00.25Z",
		"1714557600,25":                    "2024-05-01T10:00:00.25Z",
		"1714557600123":                    "2024-05-01T10:00:00.123Z",
		"1714557600123.75":                 "2024-05-01T10:00:00.12375Z",
		"1714557600123456":                 "2024-05-01T10:00:00.123456Z",
		"1714557600123456789":              "2024-05-01T10:00:00.123456789Z",
		"1714557600123456789.5":            "2024-05-01T10:00:00.123456789Z",
		"99999999999":                      "5138-11-16T09:46:39Z",
		"100000000000":                     "1973-03-03T09:46:40Z",
		"99999999999999":                   "5138-11-16T09:46:39.999Z",
		"100000000000000":                  "1973-03-03T09:46:40Z",
		"2024050112":                       "2034-02-20T12:08:32Z", // not twelve o'clock
		"1.7145576e9":                      "2024-05-01T10:00:00Z",
		"1714557600001e0":                  "2024-05-01T10:00:00.001Z",
		"1.714557600001E+15":               "2024-05-01T10:00:00.001Z",
		"1.714557600001e18":                "2024-05-01T10:00:00.001Z",
		"17145576000000000000000000e-16":   "2024-05-01T10:00:00Z",
		"2024-05-01T12:30:15.123456789+02": "2024-05-01T10:30:15.123456789Z",
	} {
		got, err := timestampOf([]byte(`"`+text+`"`), "f")
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", text, got.UTC(), err, want)
		}
	}
}

func TestWhatIsNoTime(t *testing.T) {
	for _, text := range []string{
		"", " ", "soon", "T", "2024-05", "2024-5-1", "2024-13-01", "2024-00-01", "2023-02-29", "2024-04-31", "2024-05/01", "2024-/05/01",
		"2024-05-01T", "2024-05-01T12", "2024-05-01T24:00", "2024-05-01T12:60", "2024-05-01T12:30:61", "2024-05-01T12:30:15.",
		"2024-05-01T12:30:15.x", "2024-05-01T1230", "2024-05-01T12:30:15+2", "2024-05-01T12:30:15+02:0", "2024-05-01T12:30:15+02:000",
		"2024-05-01T12:30:15+24:00", "2024-05-01T12:30:15 CEST", "2024-05-01  12:30", "2024-05-01Z", "01/05/2024", "12:30",
		"1e300", "0xep1", "-", "--5", strings.Repeat("-", 1<<20), "NaN", "Inf", "0x10", "1_000", "1.", ".5", "1.5.5", "1e", "+5", "99999999999999999999", "1714557600 ms", "@5", "-2h",
	} {
		_, err := timestampOf([]byte(`"`+text+`"`), "f")
		if err == nil || !strings.Contains(err.Error(), `field "f" is no timestamp: "`) || !strings.Contains(err.Error(), "2024-05-01T12:00:00Z") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"-1", "-1.5e3", "-0.001", "1969-12-31", "1969-12-31T23:59:59.9Z", "1970-01-01T00:30:00+01:00", "0001-01-01T00:00:00Z"} {
		_, err := timestampOf([]byte(`"`+text+`"`), "f")
		if err == nil || !errors.Is(err, errBeforeEpoch) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestStartsOfAllForms(t *testing.T) {
	for text, want := range map[string]string{
		"2024-05-01":       "2024-05-01T00:00:00Z",
		"2024-05-01 12:30": "2024-05-01T12:30:00Z",
		"@1714557600":      "2024-05-01T10:00:00Z",
		"@1714557600123":   "2024-05-01T10:00:00.123Z",
		"@1714557600.5":    "2024-05-01T10:00:00.5Z",
		"@20240501":        "1970-08-23T06:21:41Z", // with @ it is a number
		"-90s":             "2024-05-31T11:58:30Z",
		"-30m":             "2024-05-31T11:30:00Z",
		"-1h30m":           "2024-05-31T10:30:00Z",
		"-1.5h":            "2024-05-31T10:30:00Z",
		"-500ms":           "2024-05-31T11:59:59.5Z",
		"-7d":              "2024-05-24T12:00:00Z",
		"-90d":             "2024-03-02T12:00:00Z",
		"-1d12h":           "2024-05-30T00:00:00Z",
		"-2w":              "2024-05-17T12:00:00Z",
		"-3mo":             "2024-03-02T12:00:00Z", // there is no 31st of February
		"-1y":              "2023-05-31T12:00:00Z",
		"-1y2mo3w4d5h":     "2023-03-06T07:00:00Z",
		"-0d":              "2024-05-31T12:00:00Z",
	} {
		at, err := parseFrom("from", text, now)
		if err != nil || at.kind != fromTime || at.time.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", text, at.time.UTC(), err, want)
		}
	}
	if at, err := parseFrom("from", "1714557600123", now); err != nil || at.kind != fromOffset || at.offset != 1714557600123 {
		t.Errorf("a bare integer is an offset; got %+v, %v", at, err)
	}
	for _, text := range []string{"", "-", "@", "@soon", "-5", "-d", "-1d1y", "-1y-5h", "-1y+5h", "--5m", "-1.5d", "-2 h", "yesterday", "12.5", "-99999d1", "-1c"} {
		_, err := parseFrom("from", text, now)
		if err == nil || exitCode(err) != ExitUsage || !strings.Contains(err.Error(), "@1714557600") || !strings.Contains(err.Error(), "varve help times") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"@-5", "-99y", "-36500d", "1969-12-31"} {
		if _, err := parseFrom("from", text, now); err == nil || !errors.Is(err, errBeforeEpoch) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestHelpOfTimesHoldsWhatItSays takes the forms from the help itself.
func TestHelpOfTimesHoldsWhatItSays(t *testing.T) {
	forms := 0
	for line := range strings.Lines(timesText) {
		form, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if !strings.HasPrefix(line, "  2") && !strings.HasPrefix(line, "  1") && !strings.HasPrefix(line, "  -") {
			continue
		}
		if strings.HasPrefix(form, "-") {
			for _, ago := range strings.Fields(form) {
				if _, err := parseFrom("from", ago, now); err != nil {
					t.Error(err)
				}
				forms++
			}
			continue
		}
		if _, err := timestampOf([]byte(`"`+form+`"`), "f"); err != nil {
			t.Error(err)
		}
		forms++
	}
	if forms < 15 {
		t.Fatalf("found %d forms in the help", forms)
	}
}

// FuzzTimesAreReadAsTheStandardLibraryReadsThem compares with package time where
// it knows the form.
func FuzzTimesAreReadAsTheStandardLibraryReadsThem(f *testing.F) {
	for _, text := range []string{"2024-05-01T12:00:00Z", "2024-05-01 12:00:00.5 +0200", "20240501T120000", "@1714557600.5", "-1y2mo", "1e9", "1714557600123456789", "2024-05-01"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseMoment(text)
		for _, layout := range []string{time.RFC3339, time.DateOnly, time.DateTime, "2006-01-02 15:04:05 -0700", "20060102T150405Z0700", "2006/01/02 15:04"} {
			want, wrong := time.Parse(layout, text)
			if wrong != nil {
				continue
			}
			// The library also takes hours of one digit, and others.
			usual := want.Format(layout) == text
			if errors.Is(err, errNoTime) && usual || err == nil && !got.Equal(want) || !errors.Is(err, errNoTime) && want.UnixMilli() < 0 != (err != nil) {
				t.Fatalf("%q: got %v, %v; as %q it is %v", text, got, err, layout, want)
			}
		}
		for _, parse := range []func(string) (time.Time, error){
			parseMoment, parseEpoch, func(s string) (time.Time, error) { return parseAgo(s, now) },
		} {
			if got, err := parse(text); err == nil && got.UnixMilli() < 0 {
				t.Fatalf("%q: %v is before 1970", text, got)
			}
		}
	})
}
