package topicconfig

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

func isBool(v string) error {
	_, err := parseBool(v)
	return err
}

// parseBool takes true and false in any case, as Kafka does.
func parseBool(v string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("want true or false")
}

// parseInt takes a decimal integer with spaces around it, as Kafka does.
func parseInt(v string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil {
		return 0, errors.New("want an integer")
	}
	return n, nil
}

func between(lowest, highest int64) func(string) error {
	return func(v string) error {
		n, err := parseInt(v)
		if err != nil || n < lowest || n > highest {
			return fmt.Errorf("want an integer %s", rangeText(lowest, highest))
		}
		return nil
	}
}

// atLeast is the range of a Kafka LONG, intAtLeast that of an INT.
func atLeast(lowest int64) func(string) error    { return between(lowest, math.MaxInt64) }
func intAtLeast(lowest int64) func(string) error { return between(lowest, math.MaxInt32) }

func rangeText(lowest, highest int64) string {
	if highest == math.MaxInt64 || highest == math.MaxInt32 {
		return fmt.Sprintf("of at least %d", lowest)
	}
	return fmt.Sprintf("from %d to %d", lowest, highest)
}

// gzipLevel is zlib's default or one of its levels.
func gzipLevel(v string) error {
	n, err := parseInt(v)
	if err != nil || (n != -1 && (n < 1 || n > 9)) {
		return errors.New("want -1 or an integer from 1 to 9")
	}
	return nil
}

func ratio(v string) error {
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil || !(f >= 0 && f <= 1) { // NaN is refused too
		return errors.New("want a number from 0 to 1")
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(v string) error {
		if slices.Contains(words, v) {
			return nil
		}
		return fmt.Errorf("want one of %s", strings.Join(words, ", "))
	}
}

func cleanupPolicy(v string) error {
	_, err := parseCleanup(v)
	return err
}

func parseCleanup(v string) (p cleanup, err error) {
	for word := range strings.SplitSeq(v, ",") {
		switch strings.TrimSpace(word) {
		case "delete":
			p.delete = true
		case "compact":
			p.compact = true
		default:
			return cleanup{}, errors.New("want delete, compact, or both with a comma between")
		}
	}
	return p, nil
}

type cleanup struct{ delete, compact bool }

// throttledReplicas is Kafka's list of partition:broker pairs, or * for all.
func throttledReplicas(v string) error {
	if v == "" || v == "*" {
		return nil
	}
	for pair := range strings.SplitSeq(v, ",") {
		partition, broker, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if !ok || !isDigits(partition) || !isDigits(broker) {
			return errors.New("want *, nothing, or partition:broker pairs with commas between")
		}
	}
	return nil
}

func isDigits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// anyText accepts any value of a config that Kafka 4 no longer knows, but that
// its tools may still copy.
func anyText(string) error { return nil }
