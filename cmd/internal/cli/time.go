package cli

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// timesText is "varve help times". A test has a case for every form in it.
const timesText = `Times, as --timestamp-field, --from, --to and --before read them:

A date, and a time of day. A time without a zone is in UTC.
  2024-05-01                      the beginning of that day
  2024-05-01T12:00:00Z            RFC 3339
  2024-05-01 12:00:00             a space for the T; seconds may be left out
  2024-05-01T12:00:00.123456789   a fraction of any length, after a point or a comma
  2024-05-01 12:00:00 +0200       zones are Z, UTC, GMT, +02:00, +0200 or +02, also after
                                  a space
  2024/05/01 12:00:00             slashes for the dashes
  20240501T120000Z                neither dashes nor colons

A number since 1970. Its size decides the unit; a fraction is allowed.
  1714557600                      below 100000000000 (year 5138) seconds
  1714557600123                   with three digits more, milliseconds
  1714557600123456                with six, microseconds
  1714557600123456789             with nine, nanoseconds

--timestamp-field takes all of these as a JSON string, and numbers also as JSON numbers.
Digits that make up a date (20240501) or a date and time (20240501120000) are read as
those: as numbers they would be times in 1970, or in 2611.

In --from, --to and --before a bare integer is an offset. Put @ before a number that
is a time: @1714557600, @1714557600123. They also take how long ago:
  -90s -30m -2h -7d -2w           seconds, minutes, hours, days of 24 hours, weeks
  -6mo -1y                        calendar months and years
  -1d12h                          joined, the largest first

Kafka keeps milliseconds, so the rest of a fraction is cut off, and no time before
1970.
`

// errBeforeEpoch: the protocol gives negative timestamps meanings of their own.
var errBeforeEpoch = errors.New("no record is older than 1970")

var errNoTime = errors.New("no time")

// Numbers below maxSeconds are seconds (until the year 5138), those below a
// thousand times that milliseconds (from 1973 on), then micro- and nanoseconds.
const maxSeconds = 1e11

// parseMoment reads a date, with a time of day or without, in any of the forms
// that "varve help times" lists.
func parseMoment(text string) (time.Time, error) {
	c := cursor(text)
	day, dash, ok := c.date()
	var clock [3]int
	var nanos int64
	zone := time.UTC
	if ok && c != "" {
		// Digits alone need seconds too: shorter ones are numbers.
		spaced := c.skip("T") || c.skip("t") || dash != "" && c.skip(" ")
		if ok = spaced || dash == "" && len(c) >= len("120000"); ok {
			clock, nanos, ok = c.clock(dash != "", !spaced)
		}
		if ok {
			zone, ok = c.zone()
		}
	}
	if !ok {
		return time.Time{}, errNoTime
	}
	return since1970(time.Date(day[0], time.Month(day[1]), day[2], clock[0], clock[1], clock[2], int(nanos), zone))
}

// cursor is the rest of a text that is read from the left.
type cursor string

func (c *cursor) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(string(*c), prefix)
	if ok {
		*c = cursor(rest)
	}
	return ok
}

// digits reads exactly n digits, as a number from low to high.
func (c *cursor) digits(n, low, high int) (value int, ok bool) {
	if len(*c) < n {
		return 0, false
	}
	for i := range n {
		d := (*c)[i]
		if !isDigit(d) {
			return 0, false
		}
		value = value*10 + int(d-'0')
	}
	*c = (*c)[n:]
	return value, value >= low && value <= high
}

// date reads year, month and day, and returns the text between them.
func (c *cursor) date() (date [3]int, dash string, ok bool) {
	if date[0], ok = c.digits(4, 0, 9999); !ok {
		return date, "", false
	}
	if c.skip("-") {
		dash = "-"
	} else if c.skip("/") {
		dash = "/"
	}
	if date[1], ok = c.digits(2, 1, 12); !ok || !c.skip(dash) {
		return date, dash, false
	}
	last := time.Date(date[0], time.Month(date[1])+1, 0, 0, 0, 0, 0, time.UTC).Day()
	date[2], ok = c.digits(2, 1, last)
	return date, dash, ok
}

// clock reads a time of day. A second 60 is the first of the next minute: leap
// seconds are not counted.
func (c *cursor) clock(colons, seconds bool) (clock [3]int, nanos int64, ok bool) {
	colon := ""
	if colons {
		colon = ":"
	}
	if clock[0], ok = c.digits(2, 0, 23); !ok || !c.skip(colon) {
		return clock, 0, false
	}
	if clock[1], ok = c.digits(2, 0, 59); !ok {
		return clock, 0, false
	}
	if more := colons && c.skip(":") || !colons && *c != "" && isDigit((*c)[0]); !more {
		return clock, 0, !seconds
	}
	if clock[2], ok = c.digits(2, 0, 60); ok && (c.skip(".") || c.skip(",")) {
		nanos, ok = c.fraction()
	}
	return clock, nanos, ok
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// fraction reads one digit or more, as billionths.
func (c *cursor) fraction() (nanos int64, ok bool) {
	n := 0
	for n < len(*c) && isDigit((*c)[n]) {
		n++
	}
	nanos = decimals(string((*c)[:n]), 9)
	*c = (*c)[n:]
	return nanos, n > 0
}

// decimals returns the number that the first places digits make. Missing digits
// count as zeros.
func decimals(digits string, places int) (value int64) {
	for i := range places {
		value *= 10
		if i < len(digits) {
			value += int64(digits[i] - '0')
		}
	}
	return value
}

// zone reads the rest of the text.
func (c *cursor) zone() (*time.Location, bool) {
	if *c == "" {
		return time.UTC, true
	}
	c.skip(" ")
	switch *c {
	case "Z", "z", "UTC", "GMT":
		return time.UTC, true
	}
	sign := 1
	if c.skip("-") {
		sign = -1
	} else if !c.skip("+") {
		return nil, false
	}
	hours, ok := c.digits(2, 0, 23)
	minutes := 0
	if ok && *c != "" {
		c.skip(":")
		minutes, ok = c.digits(2, 0, 59)
	}
	if !ok || *c != "" {
		return nil, false
	}
	return time.FixedZone("", sign*(hours*60+minutes)*60), true
}

// parseEpoch reads a number since 1970: of seconds, milli-, micro- or
// nanoseconds, which its size decides.
func parseEpoch(text string) (time.Time, error) {
	if strings.ContainsAny(text, "eE") {
		return parseEpochFloat(text)
	}
	positive, negative := strings.CutPrefix(text, "-")
	whole, fraction := positive, ""
	if i := strings.IndexAny(positive, ".,"); i >= 0 {
		whole, fraction = positive[:i], positive[i+1:]
		if fraction == "" || strings.Trim(fraction, "0123456789") != "" {
			return time.Time{}, errNoTime
		}
	}
	n, err := strconv.ParseUint(whole, 10, 63)
	if err != nil {
		return time.Time{}, errNoTime
	}
	switch {
	case negative:
		return time.Time{}, errBeforeEpoch
	case n < maxSeconds:
		return time.Unix(int64(n), decimals(fraction, 9)), nil
	case n < maxSeconds*1e3:
		return time.UnixMilli(int64(n)).Add(time.Duration(decimals(fraction, 6))), nil
	case n < maxSeconds*1e6:
		return time.UnixMicro(int64(n)).Add(time.Duration(decimals(fraction, 3))), nil
	}
	return time.Unix(0, int64(n)), nil
}

// parseEpochFloat reads a number with an exponent. It has fewer digits than
// nanoseconds need, and is rounded to Kafka's milliseconds.
func parseEpochFloat(text string) (time.Time, error) {
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || strings.Trim(text, "0123456789.eE+-") != "" || f >= math.MaxInt64:
		return time.Time{}, errNoTime
	case f < 0:
		return time.Time{}, errBeforeEpoch
	}
	for unit := float64(1e3); ; unit /= 1e3 { // milliseconds in one counted unit
		if f < maxSeconds*1e3/unit || unit < 1e-5 {
			return time.UnixMilli(int64(math.Round(f * unit))), nil
		}
	}
}

// parseAgo reads how long before now: numbers with units, the largest first.
func parseAgo(text string, now time.Time) (time.Time, error) {
	then, rest := now.UTC(), text
	for _, unit := range []struct {
		name                string
		years, months, days int
	}{{"y", 1, 0, 0}, {"mo", 0, 1, 0}, {"w", 0, 0, 7}, {"d", 0, 0, 1}} {
		digits, after, found := strings.Cut(rest, unit.name)
		n, err := strconv.ParseUint(digits, 10, 16)
		if found && err == nil {
			then, rest = then.AddDate(-int(n)*unit.years, -int(n)*unit.months, -int(n)*unit.days), after
		}
	}
	if rest != "" || text == "" {
		d, err := time.ParseDuration(rest)
		if err != nil || strings.ContainsAny(rest, "+-") {
			return time.Time{}, errNoTime
		}
		then = then.Add(-d)
	}
	return since1970(then)
}

// since1970 refuses times that a Kafka timestamp cannot hold.
func since1970(t time.Time) (time.Time, error) {
	if t.UnixMilli() < 0 {
		return time.Time{}, errBeforeEpoch
	}
	return t, nil
}

// timeForms is the short list for errors; "varve help times" has all forms.
const timeForms = `a date (2024-05-01), a time (2024-05-01T12:00:00Z, "2024-05-01 12:00"; in UTC unless it has a zone)`
