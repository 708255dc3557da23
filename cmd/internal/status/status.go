// Package status is what a node tells of itself at GET /status of its HTTP
// address, as JSON, beyond what the Kafka protocol has words for.
//
// It owns the form, for the node that writes it and the command line that reads
// it, and promises that null stands for what is not known. Fields may be added,
// none is renamed or removed. It never asks a node for anything but this.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
)

// Path is where a node serves it.
const Path = "/status"

// Node is one node. Before it serves clients, only what stands above Cluster is
// known, and Cluster is null.
type Node struct {
	Version   string           `json:"version"`
	State     string           `json:"state"` // Ready, Troubled, or what the node is busy with
	Roles     []string         `json:"roles"`
	Rack      string           `json:"rack,omitempty"`
	StartedAt time.Time        `json:"started_at"`
	Troubles  []health.Trouble `json:"troubles"` // what is wrong now

	Cluster      *Cluster  `json:"cluster"`
	ID           *int32    `json:"id"` // broker id
	Kafka        string    `json:"kafka,omitempty"`
	Bucket       string    `json:"bucket,omitempty"`
	UUID         string    `json:"uuid,omitempty"`        // of the data folder
	Incarnation  string    `json:"incarnation,omitempty"` // of this start
	Announcing   bool      `json:"announcements_connected"`
	Journals     []Journal `json:"journals"`
	TopicsGoing  int       `json:"topics_being_deleted"`
	FeatureLevel uint16    `json:"feature_level"`
}

// States of a node that has started.
const (
	Ready    = "ready"     // it serves clients
	Troubled = "not ready" // one of its troubles keeps it from its work
)

// Cluster is which cluster the node belongs to.
type Cluster struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
}

// Journal is a journal as the node that tells of it sees it.
type Journal struct {
	Journal    uint32  `json:"journal"`
	Leads      bool    `json:"leads"`      // or follows
	Head       uint64  `json:"head"`       // seq of the last object applied
	Epoch      *uint32 `json:"epoch"`      // of that object
	Partitions int     `json:"partitions"` // open in it; 0 of the metadata journal
	Pending    *int64  `json:"pending_bytes"`
	SetAside   *int    `json:"set_aside_records"`
}

// Handler serves what tell returns.
func Handler(tell func() Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(tell()) // the client has gone
	})
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// Ask asks the node at address, host:port.
func Ask(ctx context.Context, address string) (n Node, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+Path, nil)
	if err != nil {
		return n, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return n, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return n, fmt.Errorf("GET http://%s%s: %s; is it varve's --http address?", address, Path, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&n); err != nil {
		return n, fmt.Errorf("GET http://%s%s: %w; is it varve's --http address?", address, Path, err)
	}
	if n.State == "" {
		return n, fmt.Errorf("GET http://%s%s: it tells no state; is it varve's --http address?", address, Path)
	}
	return n, nil
}
