package faultproxy

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

func TestLatencyWithATailHasTheQuantilesAskedFor(t *testing.T) {
	const n = 10_000
	f := Fault{Kind: Latency, Rate: 1, Delay: 30 * time.Millisecond, P99: 150 * time.Millisecond}
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = f.latency(random)
	}
	slices.Sort(all)
	for _, q := range []struct {
		at   int
		want time.Duration
	}{{n / 2, f.Delay}, {n * 99 / 100, f.P99}} {
		if got := all[q.at]; got < q.want*9/10 || got > q.want*11/10 {
			t.Errorf("quantile %d of %d is %v, want about %v", q.at, n, got, q.want)
		}
	}
	f.P99 = 0
	if got := f.latency(random); got != f.Delay {
		t.Errorf("without a tail: %v", got)
	}
}

// Deletions may arrive late, and in a batch fail in an answer that looks like a success.
func TestFaultsStrikeTheRequestsTheyAreMadeFor(t *testing.T) {
	requests := map[string]*http.Request{
		"put":     httptest.NewRequest(http.MethodPut, "/b/k", nil),
		"get":     httptest.NewRequest(http.MethodGet, "/b/k", nil),
		"list":    httptest.NewRequest(http.MethodGet, "/b/?list-type=2", nil),
		"delete":  httptest.NewRequest(http.MethodDelete, "/b/k", nil),
		"deletes": httptest.NewRequest(http.MethodPost, "/b/?delete", nil),
		"post":    httptest.NewRequest(http.MethodPost, "/b/k?uploads", nil),
	}
	for kind, want := range map[Kind][]string{
		LateArrival: {"delete", "deletes", "put"},
		ErrorIn200:  {"deletes", "put"},
		StalledPut:  {"put"},
		Missing:     {"get"},
		ReplyLost:   {"delete", "deletes", "get", "list", "post", "put"},
	} {
		var struck []string
		for name, r := range requests {
			if kind.strikes(r) {
				struck = append(struck, name)
			}
		}
		slices.Sort(struck)
		if !slices.Equal(struck, want) {
			t.Errorf("%s strikes %q, want %q", kind, struck, want)
		}
	}
}
