// Package status is the report of a node about itself at GET /status of its
// HTTP address, as JSON. It holds values for which the Kafka protocol has no
// fields.
//
// It owns the form, for the node that writes it and the command line that reads
// it, and promises that null stands for a value that is not known. Later
// versions may add fields, and rename or remove none. It never sends a node any
// other request.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
)

// Path is the path at which a node serves it.
const Path = "/status"

// Node is one node. Before it serves clients, only the fields above Cluster are
// known, and Cluster is null.
type Node struct {
	Version   string           `json:"version"`
	State     string           `json:"state"` // Ready, Troubled, or the work that the node is busy with
	Roles     []string         `json:"roles"`
	Rack      string           `json:"rack,omitempty"`
	StartedAt time.Time        `json:"started_at"`
	Troubles  []health.Trouble `json:"troubles"` // those of now

	Cluster      *Cluster  `json:"cluster"`
	ID           *int32    `json:"id"` // broker id
	Kafka        string    `json:"kafka,omitempty"`
	Bucket       string    `json:"bucket,omitempty"`
	Versioning   string    `json:"bucket_versioning,omitempty"` // "off", or deleted objects stay in it: "enabled", "suspended"; or "unknown"
	ObjectLock   string    `json:"bucket_object_lock,omitempty"`
	Unread       int       `json:"bucket_settings_unread"` // settings that could not be read
	UUID         string    `json:"uuid,omitempty"`         // of the data folder
	Incarnation  string    `json:"incarnation,omitempty"`  // of this start
	Announcing   bool      `json:"announcements_connected"`
	Journals     []Journal `json:"journals"`
	TopicsGoing  int       `json:"topics_being_deleted"`
	FeatureLevel uint16    `json:"feature_level"`
	Members      *Members  `json:"members"` // null: the node takes part in no cluster of several nodes
}

// States of a node that has started.
const (
	Ready    = "ready"     // it serves clients
	Troubled = "not ready" // one of its troubles keeps it from its work
)

// Cluster is the cluster that the node belongs to.
type Cluster struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
}

// Journal is a journal as the reporting node sees it.
type Journal struct {
	Journal    uint32  `json:"journal"`
	Leads      bool    `json:"leads"`      // false: it follows
	Head       uint64  `json:"head"`       // seq of the last object applied
	Epoch      *uint32 `json:"epoch"`      // of that object
	Partitions int     `json:"partitions"` // open in it; 0 of the metadata journal
	Pending    *int64  `json:"pending_bytes"`
	SetAside   *int    `json:"set_aside_records"`
	Unmerged   *int64  `json:"unmerged_bytes"` // null: this node merges nothing of it
	// Retained are the bytes of objects that this process deleted and that the bucket keeps
	// as versions; null: this node deletes nothing, or the bytes of its deletions are gone.
	Retained *int64 `json:"retained_bytes"`
}

// DeletedPath is the path at which a node serves the list of deleted topics.
const DeletedPath = "/topics/deleted"

// DeletedTopic is a topic that is deleted and can be restored.
type DeletedTopic struct {
	Name       string    `json:"name"`
	ID         string    `json:"id"`
	Partitions int       `json:"partitions"`
	DeletedAt  time.Time `json:"deleted_at"`
	// PurgedAfter is when it can be restored no more.
	PurgedAfter time.Time `json:"purged_after"`
}

// TopicsPath is the path at which a node describes how topics are stored. The parameters
// "name" choose topics.
const TopicsPath = "/topics"

// StoredTopic is a topic as it is stored.
type StoredTopic struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Partitions []StoredPartition `json:"partitions"` // those of journals that the node leads or follows
}

// StoredPartition is a partition as it is stored. Bytes are those of batches.
type StoredPartition struct {
	Partition int32  `json:"partition"`
	Journal   uint32 `json:"journal"`
	Unmerged  int64  `json:"unmerged_bytes"` // in objects of the journal
	Shared    int64  `json:"shared_bytes"`   // in merged objects of several partitions
	Own       int64  `json:"own_bytes"`      // in merged objects of the partition alone
	Objects   int    `json:"merged_objects"`
	// Oldest and Newest are about the times of the first record and of the newest one, by
	// their timestamps; null if not known.
	Oldest *time.Time `json:"oldest"`
	Newest *time.Time `json:"newest"`
}

// Handler serves the result of read.
func Handler[T any](read func() T) http.Handler {
	return HandlerOf(func(*http.Request) T { return read() })
}

// HandlerOf serves the result of read, which depends on the request.
func HandlerOf[T any](read func(*http.Request) T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(read(r)) // an error means that the client has gone
	})
}

// maxAnswer limits the size of an answer, in bytes.
const maxAnswer = 16 << 20

// Ask reads the status of the node at address, host:port.
func Ask(ctx context.Context, address string) (n Node, err error) {
	if err := get(ctx, address, Path, &n); err != nil {
		return n, err
	}
	if n.State == "" {
		return n, fmt.Errorf("GET http://%s%s: the answer has no state; is it varve's --http address?", address, Path)
	}
	return n, nil
}

// AskDeleted reads the list of deleted topics of the node at address, host:port.
func AskDeleted(ctx context.Context, address string) (topics []DeletedTopic, err error) {
	err = get(ctx, address, DeletedPath, &topics)
	return topics, err
}

// AskStored reads how topics are stored from the node at address, host:port. Topics that
// it does not know are left out.
func AskStored(ctx context.Context, address string, names []string) (topics []StoredTopic, err error) {
	err = get(ctx, address, TopicsPath+"?"+url.Values{"name": names}.Encode(), &topics)
	return topics, err
}

func get(ctx context.Context, address, path string, to any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET http://%s%s: %s; is it varve's --http address?", address, path, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(to); err != nil {
		return fmt.Errorf("GET http://%s%s: %w; is it varve's --http address?", address, path, err)
	}
	return nil
}
