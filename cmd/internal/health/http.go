package health

import (
	"fmt"
	"net/http"
	"time"
)

// String returns the trouble in one line, with the time it began.
func (t Trouble) String() string {
	title := string(t.Kind)
	if t.Subject != "" {
		title += " (" + t.Subject + ")"
	}
	return fmt.Sprintf("%s: %s; since %s", title, t.Text, t.Since.UTC().Format(time.RFC3339))
}

// ServeHTTP answers /readyz: 200 or 503, and a line for every trouble.
func (b *Board) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	busy, troubles := b.State(), b.Troubles()
	ready := busy == "" && (len(troubles) == 0 || !troubles[0].NotReady)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch {
	case busy != "":
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready:", busy)
	case ready:
		fmt.Fprintln(w, "ready")
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, t := range troubles {
		if t.NotReady {
			fmt.Fprintln(w, "not ready:", t)
		} else {
			fmt.Fprintln(w, "trouble:", t)
		}
	}
}
