package s3http

import (
	"fmt"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
)

// listing checks that the keys of a listing were asked for, and are in order.
type listing struct {
	StorePrefix string // of the store
	Prefix      string // asked for, without the store's
	Last        string // the last key, or the one to start after; without the store's prefix
}

// next takes the next name in the bucket and returns the key in the store.
func (l *listing) next(name string) (key string, err error) {
	key, ok := strings.CutPrefix(name, l.StorePrefix)
	if !ok || !strings.HasPrefix(key, l.Prefix) || key <= l.Last {
		return "", fmt.Errorf("store listed %q after %q: out of order, or not asked for", name, l.Last)
	}
	l.Last = key
	return key, nil
}

// CheckPrefix returns the prefix of every key of a store: the configured one and a slash,
// or nothing.
func CheckPrefix(prefix string) (string, error) {
	const longest = 1024 - 1 - objstore.MaxKey // 1,024 is the longest key S3 takes
	if prefix == "" {
		return "", nil
	}
	if err := objstore.CheckKey(prefix); err != nil {
		return "", fmt.Errorf("prefix: %w", err)
	}
	if len(prefix) > longest {
		return "", fmt.Errorf("prefix of %d bytes: the longest is %d", len(prefix), longest)
	}
	return prefix + "/", nil
}

// CheckConnections returns how many connections to keep; 0 asks for the default.
func CheckConnections(n int) (int, error) {
	switch {
	case n < 0:
		return 0, fmt.Errorf("concurrency %d: give 1 or more, or 0 for %d", n, defaultConnections)
	case n == 0:
		return defaultConnections, nil
	}
	return n, nil
}
