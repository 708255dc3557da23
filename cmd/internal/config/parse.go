package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/varvelog/varve/cmd/internal/bucket"
)

// ParseSize reads a number of bytes: 8MiB (1024), 64MB (1000) or plain bytes.
func ParseSize(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return 0, errors.New("not a size; write 8MiB, 64MB or a number of bytes")
	}
	return int64(n), nil
}

// formatSize writes n so that ParseSize reads the same number back.
func formatSize(n int64) string {
	for _, u := range []struct {
		unit int64
		name string
	}{{tib, "TiB"}, {gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if n >= u.unit && n%u.unit == 0 {
			return strconv.FormatInt(n/u.unit, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func setSize(to *int64, text string, lowest, highest int64) error {
	n, err := ParseSize(text)
	if err != nil {
		return err
	}
	if n < lowest || n > highest {
		return fmt.Errorf("out of bounds; write a size from %s to %s", formatSize(lowest), formatSize(highest))
	}
	*to = n
	return nil
}

func setDuration(to *time.Duration, text string, lowest, highest time.Duration) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("not a duration; write a number with a unit, like 250ms or 2s")
	}
	if d < lowest || d > highest {
		return fmt.Errorf("out of bounds; write a duration from %v to %v", lowest, highest)
	}
	*to = d
	return nil
}

func setInt[T int | int32](to *T, text string, lowest, highest T) error {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || T(n) < lowest || T(n) > highest {
		return fmt.Errorf("write a whole number from %d to %d", lowest, highest)
	}
	*to = T(n)
	return nil
}

func setBool(to *bool, text string) error {
	switch text {
	case "true":
		*to = true
	case "false":
		*to = false
	default:
		return errors.New("write true or false")
	}
	return nil
}

func setPath(to *string, text string) error {
	if text == "" {
		return errors.New("empty; name a folder")
	}
	path, err := filepath.Abs(text)
	if err != nil {
		return fmt.Errorf("make path absolute: %w", err)
	}
	*to = path
	return nil
}

func setBucket(to *string, text string) error {
	if text != "" {
		if err := bucket.Check(text); err != nil {
			return err
		}
	}
	*to = text
	return nil
}

// setRoles keeps the order of the constants, so that the same set always has
// the same text.
func setRoles(to *[]Role, text string) error {
	var asked = map[Role]bool{}
	for word := range strings.SplitSeq(text, ",") {
		r := Role(strings.TrimSpace(word))
		switch {
		case r != RoleIngest && r != RoleFetch && r != RoleTiering:
			return fmt.Errorf("no role is called %q; name one or more of ingest, fetch, tiering", string(r))
		case asked[r]:
			return fmt.Errorf("%s is named twice", r)
		}
		asked[r] = true
	}
	*to = nil
	for _, r := range []Role{RoleIngest, RoleFetch, RoleTiering} {
		if asked[r] {
			*to = append(*to, r)
		}
	}
	return nil
}

// splitAddress splits host:port; the host may be empty.
func splitAddress(text string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, errors.New("not an address; write host:port, like 127.0.0.1:9092 or [::1]:9092")
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not a port; write a number from 0 to 65535", p)
	}
	return host, int(n), nil
}

func setAddress(to *string, text string) error {
	if _, _, err := splitAddress(text); err != nil {
		return err
	}
	*to = text
	return nil
}

func setPUTs(to *FlushPUTs, text string) error {
	const lowest, highest = 0.01, 10_000
	switch text {
	case "auto":
		*to = FlushPUTs{Auto: true}
		return nil
	case "unlimited":
		*to = FlushPUTs{}
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= lowest && n <= highest) {
		return fmt.Errorf("write auto, unlimited, or a number from %v to %v", lowest, highest)
	}
	*to = FlushPUTs{PerSecond: n}
	return nil
}

// setRate reads a number of bytes a second.
func setRate(to *Rate, text string) error {
	switch text {
	case "auto":
		*to = Rate{Auto: true}
		return nil
	case "unlimited":
		*to = Rate{}
		return nil
	}
	var r Rate
	if err := setSize(&r.Bytes, text, mib, tib); err != nil {
		return fmt.Errorf("%w; or write auto or unlimited", err)
	}
	*to = r
	return nil
}

func setLogLevel(to *slog.Level, text string) error {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	level, ok := levels[text]
	if !ok {
		return errors.New("write debug, info, warn or error")
	}
	*to = level
	return nil
}

func setLogFormat(to *LogFormat, text string) error {
	f := LogFormat(text)
	if f != LogText && f != LogJSON {
		return errors.New("write text or json")
	}
	*to = f
	return nil
}

// setPerAddress leaves an empty text to derive.
func setPerAddress(dst *int, text string) error {
	if text == "" {
		return nil
	}
	return setInt(dst, text, 1, maxConnections)
}
