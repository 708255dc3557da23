// Package storetest is the contract of objstore.Store as tests.
//
// It owns no store. It promises that a driver which passes keeps the contract of the
// interface, as far as tests can show. It never asks for more than the interface says, so
// every driver, and every stand-in for one, runs the same tests.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// Run tests the stores that open returns: an empty one at each call, usable
// until the test that it was opened for ends.
func Run(t *testing.T, open func(t *testing.T) objstore.Store) { RunBut(t, nil, open) }

// RunBut is Run without the tests that deviations name. Their values say how the store
// deviates.
func RunBut(t *testing.T, deviations map[string]string, open func(t *testing.T) objstore.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s objstore.Store)
	}{
		{"Get returns the bytes that Create stored", getReturnsTheBytesOfCreate},
		{"GetRange returns the bytes asked for", getRange},
		{"GetRange beyond the object is ErrRange", rangeBeyondObject},
		{"GetRange writes to its memory alone", rangeStaysInside},
		{"Create releases its bytes once and not too early", createReleasesOnce},
		{"racing creators use their memory again", racingCreatorsUseMemoryAgain},
		{"Create takes a known checksum", knownChecksum},
		{"Create streams a source", createStreams},
		{"a broken source is refused", brokenSources},
		{"GetTail returns the end and the size", getTail},
		{"a missing key is ErrNotFound", missingKey},
		{"a second Create is ErrExists and leaves the first bytes", createTwice},
		{"racing creators have one winner", racingCreators},
		{"Delete removes, and a missing object is no error", deleteRemoves},
		{"DeleteAll has an outcome for each key", deleteAll},
		{"Create after Delete stores the new bytes", createAfterDelete},
		{"List is in key order", listOrder},
		{"List starts after a key and below a prefix", listStartAfter},
		{"List pages, and DeleteAll takes more than a batch", listPages},
		{"List ends with the error of its callback", listStops},
		{"an ended context ends every call", endedContext},
		{"an invalid key is refused", invalidKeys},
		{"concurrent use", concurrentUse},
	} {
		t.Run(c.name, func(t *testing.T) {
			if why := deviations[c.name]; why != "" {
				t.Skip(why)
			}
			c.test(t, open(t))
		})
	}
}

func getReturnsTheBytesOfCreate(t *testing.T, s objstore.Store) {
	for _, size := range []int{0, 1, 4 << 10, 8 << 20} {
		key := fmt.Sprintf("journals/7/%020d", size)
		want := randomBytes(size)
		create(t, s, key, want)
		got := get(t, s, key)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d other bytes", size, len(got))
		}
		clear(got) // the caller owns the slice
		if got := get(t, s, key); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: changed by a reader", size)
		}
	}
}

func getRange(t *testing.T, s objstore.Store) {
	data := randomBytes(100_000)
	create(t, s, "a/object", data)
	for _, r := range []struct{ offset, length int64 }{
		{0, 1}, {0, 100_000}, {1, 99_999}, {99_999, 1}, {4096, 8192},
	} {
		got, err := objstore.ReadRange(t.Context(), s, "a/object", r.offset, r.length)
		if err != nil {
			t.Errorf("range %+v: %v", r, err)
		} else if !bytes.Equal(got, data[r.offset:r.offset+r.length]) {
			t.Errorf("range %+v: wrong bytes", r)
		}
	}
}

func rangeBeyondObject(t *testing.T, s objstore.Store) {
	create(t, s, "a/object", randomBytes(1000))
	create(t, s, "a/empty", nil)
	for _, r := range []struct {
		key            string
		offset, length int64
	}{
		{"a/object", 0, 1001}, {"a/object", 999, 2}, {"a/object", 1000, 1}, {"a/object", 5000, 10},
		{"a/object", -1, 10}, {"a/object", 0, 0}, {"a/object", 1<<63 - 1, 1}, {"a/object", 0, objstore.MaxSize + 1},
		{"a/empty", 0, 1},
	} {
		dst := make([]byte, max(0, min(r.length, objstore.MaxSize+1)))
		if err := s.GetRange(t.Context(), r.key, r.offset, dst); !errors.Is(err, objstore.ErrRange) {
			t.Errorf("range %+v: error %v, want ErrRange", r, err)
		}
	}
}

func getTail(t *testing.T, s objstore.Store) {
	data := randomBytes(1000)
	create(t, s, "a/object", data)
	create(t, s, "a/empty", nil)
	for _, c := range []struct {
		key     string
		n, want int64
		size    int64
	}{
		{"a/object", 1, 1, 1000}, {"a/object", 999, 999, 1000}, {"a/object", 1000, 1000, 1000},
		{"a/object", 64 << 10, 1000, 1000}, {"a/empty", 64, 0, 0},
	} {
		tail, size, err := s.GetTail(t.Context(), c.key, c.n)
		if err != nil {
			t.Errorf("tail %+v: %v", c, err)
			continue
		}
		if size != c.size || int64(len(tail)) != c.want || !bytes.Equal(tail, data[1000-c.want:]) {
			t.Errorf("tail %+v: got %d bytes of %d", c, len(tail), size)
		}
	}
	if _, _, err := s.GetTail(t.Context(), "a/object", 0); err == nil {
		t.Error("a tail of 0 bytes: no error")
	}
}

func missingKey(t *testing.T, s objstore.Store) {
	create(t, s, "journals/1/floors/1", []byte("x"))
	for _, key := range []string{"journals/1/floors/2", "nothing/here/at/all", "journals/1/floors"} {
		_, err := s.Get(t.Context(), key)
		wantErr(t, "Get "+key, err, objstore.ErrNotFound)
		err = s.GetRange(t.Context(), key, 0, make([]byte, 1))
		wantErr(t, "GetRange "+key, err, objstore.ErrNotFound)
		_, _, err = s.GetTail(t.Context(), key, 1)
		wantErr(t, "GetTail "+key, err, objstore.ErrNotFound)
	}
}

func createTwice(t *testing.T, s objstore.Store) {
	first := []byte("first")
	create(t, s, "cluster", first)
	for _, again := range [][]byte{[]byte("second, and longer"), first, nil} {
		wantErr(t, "second Create", s.Create(t.Context(), "cluster", objstore.Plain(again)), objstore.ErrExists)
		if got := get(t, s, "cluster"); !bytes.Equal(got, first) {
			t.Fatalf("after a refused Create: got %q, want %q", got, first)
		}
	}
}

func racingCreators(t *testing.T, s objstore.Store) {
	const keys, creators = 4, 32
	for k := range keys {
		key := fmt.Sprintf("journals/1/%020d", k)
		errs := make([]error, creators)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for c := range creators {
			wg.Go(func() {
				<-start
				errs[c] = s.Create(t.Context(), key, objstore.Plain(fmt.Appendf(nil, "creator %d", c)))
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for c, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Errorf("key %s: creators %d and %d both won", key, winner, c)
			case err == nil:
				winner = c
			case !errors.Is(err, objstore.ErrExists) && !errors.Is(err, objstore.ErrConflict):
				t.Errorf("key %s: creator %d: %v", key, c, err)
			}
		}
		if want := fmt.Sprintf("creator %d", winner); string(get(t, s, key)) != want {
			t.Errorf("key %s: Get returns %q, the winner is %q", key, get(t, s, key), want)
		}
	}
}

// listKeys is in key order; a slash sorts between "-" and "0".
var listKeys = []string{
	"a", "b-/x", "b/0", "b/1", "b/1-", "b/10", "b/2/deep/er", "b0", "c/ä", "c/日本",
}

func listOrder(t *testing.T, s objstore.Store) {
	for _, i := range rand.Perm(len(listKeys)) {
		create(t, s, listKeys[i], make([]byte, i))
	}
	var got []string
	err := s.List(t.Context(), "", "", func(info objstore.Info) error {
		if want := int64(slices.Index(listKeys, info.Key)); info.Size != want {
			t.Errorf("%s: size %d, want %d", info.Key, info.Size, want)
		}
		got = append(got, info.Key)
		return nil
	})
	if err != nil || !slices.Equal(got, listKeys) {
		t.Errorf("listed %q, error %v", got, err)
	}
}

func listStartAfter(t *testing.T, s objstore.Store) {
	for _, key := range listKeys {
		create(t, s, key, []byte("x"))
	}
	bounds := append(slices.Clone(listKeys), "", "b", "b/", "b/1", "b/2", "b/2/", "b/9", "b/2/deep/eq", "c", "zzz")
	for _, prefix := range bounds {
		for _, after := range bounds {
			var want []string
			for _, key := range listKeys {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			if got := list(t, s, prefix, after); !slices.Equal(got, want) {
				t.Errorf("prefix %q after %q: listed %q, want %q", prefix, after, got, want)
			}
		}
	}
}

func listPages(t *testing.T, s objstore.Store) {
	const n = 1100 // S3 answers 1,000 at a time
	var wg sync.WaitGroup
	for c := range 10 {
		wg.Go(func() {
			for i := c; i < n; i += 10 {
				create(t, s, fmt.Sprintf("journals/1/%020d", i), nil)
			}
		})
	}
	wg.Wait()
	got := list(t, s, "journals/", "")
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("listed %d keys, want %d in order", len(got), n)
	}
	if err := errors.Join(objstore.DeleteAll(t.Context(), s, got)...); err != nil {
		t.Error(err)
	}
	if left := list(t, s, "", ""); len(left) != 0 {
		t.Errorf("%d objects are left", len(left))
	}
}

func listStops(t *testing.T, s objstore.Store) {
	create(t, s, "a", nil)
	create(t, s, "b", nil)
	errEnough := errors.New("enough")
	calls := 0
	err := s.List(t.Context(), "", "", func(objstore.Info) error { calls++; return errEnough })
	if err != errEnough || calls != 1 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

func endedContext(t *testing.T, s objstore.Store) {
	create(t, s, "there", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]func() error{
		"Create":   func() error { return s.Create(ctx, "new", objstore.Plain([]byte("x"))) },
		"Get":      func() error { _, err := s.Get(ctx, "there"); return err },
		"GetRange": func() error { return s.GetRange(ctx, "there", 0, make([]byte, 1)) },
		"GetTail":  func() error { _, _, err := s.GetTail(ctx, "there", 1); return err },
		"Delete":   func() error { return s.Delete(ctx, "there") },
		"List": func() error {
			return s.List(ctx, "", "", func(objstore.Info) error { return nil })
		},
	}
	for name, call := range calls {
		wantErr(t, name, call(), context.Canceled)
	}
	if got := list(t, s, "", ""); !slices.Equal(got, []string{"there"}) {
		t.Errorf("left: %q", got)
	}
}

func invalidKeys(t *testing.T, s objstore.Store) {
	long := strings.Repeat("x", 256)
	keys := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "a\x00b", "a\nb", "\xff",
		long, strings.Repeat("abcdefg/", 200) + "a",
	}
	for _, key := range keys {
		if err := s.Create(t.Context(), key, objstore.Plain([]byte("x"))); err == nil {
			t.Errorf("Create %q: no error", key)
		}
		if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("Get %q: %v", key, err)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete %q: no error", key)
		}
	}
	if got := list(t, s, "", ""); len(got) != 0 {
		t.Errorf("created: %q", got)
	}
}

func concurrentUse(t *testing.T, s objstore.Store) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				key := fmt.Sprintf("shared/%d/%d", i%3, w*100+i)
				want := bytes.Repeat([]byte{byte(w)}, 1000+i)
				create(t, s, key, want)
				if got := get(t, s, key); !bytes.Equal(got, want) {
					t.Errorf("%s: wrong bytes", key)
				}
				if tail, size, err := s.GetTail(t.Context(), key, 10); err != nil || size != int64(len(want)) || len(tail) != 10 {
					t.Errorf("%s: tail of %d bytes of %d, %v", key, len(tail), size, err)
				}
				if !slices.Contains(list(t, s, "shared/", ""), key) {
					t.Errorf("%s: not listed", key)
				}
				if i%2 == 0 {
					if err := s.Delete(t.Context(), key); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := list(t, s, "", ""); len(got) != 8*10 {
		t.Errorf("%d objects left, want 80", len(got))
	}
}

func create(t *testing.T, s objstore.Store, key string, data []byte) {
	t.Helper()
	if err := s.Create(t.Context(), key, objstore.Plain(data)); err != nil {
		t.Errorf("Create %s: %v", key, err)
	}
}

func get(t *testing.T, s objstore.Store, key string) []byte {
	t.Helper()
	data, err := s.Get(t.Context(), key)
	if err != nil {
		t.Errorf("Get %s: %v", key, err)
	}
	return data
}

func list(t *testing.T, s objstore.Store, prefix, startAfter string) []string {
	t.Helper()
	var keys []string
	err := s.List(t.Context(), prefix, startAfter, func(info objstore.Info) error {
		keys = append(keys, info.Key)
		return nil
	})
	if err != nil {
		t.Errorf("List %q after %q: %v", prefix, startAfter, err)
	}
	return keys
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func randomBytes(n int) []byte {
	var seed [32]byte
	seed[0] = byte(n)
	data := make([]byte, n)
	rand.NewChaCha8(seed).Read(data)
	return data
}
