package status

import "time"

// Members is a cluster of several nodes as one of them knows it: the nodes and assignments by
// journal 0, the leaders by the journals themselves.
type Members struct {
	Seq        uint64     `json:"seq"`        // of journal 0, up to which the node has read it
	Controller *int32     `json:"controller"` // broker id; null: not known
	Answered   *time.Time `json:"answered"`   // when the controller last answered a heartbeat of this node; null: never
	Nodes      []Member   `json:"nodes"`      // by broker id, removed ones too
	Journals   []Assigned `json:"journals"`   // the data journals
	Moves      []Move     `json:"moves"`      // those that are under way at this node
}

// Member is a data folder that was registered.
type Member struct {
	ID    int32  `json:"id"` // broker id
	UUID  string `json:"uuid"`
	State string `json:"state"` // "serving", "leaving", "drained", "removed", or "registered" before its first start at this level
	// Fenced is why the cluster does not count on the node: "refused", "replaced", "silent";
	// "no": it does.
	Fenced      string     `json:"fenced"`
	FencedSince *time.Time `json:"fenced_since"` // null: not fenced, or since before the start of the reporting node
	Kafka       string     `json:"kafka,omitempty"`
	Roles       []string   `json:"roles"`
	Rack        string     `json:"rack,omitempty"`
	MinLevel    uint16     `json:"min_feature_level"` // that it supports; 0: not known
	MaxLevel    uint16     `json:"max_feature_level"`
}

// Assigned is a data journal, with the node that is to lead it and the one that does.
type Assigned struct {
	Journal uint32 `json:"journal"`
	Node    *int32 `json:"node"`   // that is to lead it; null: none, it is parked
	Home    *int32 `json:"home"`   // that is to lead it when all is well; null: it was never assigned
	Number  uint32 `json:"number"` // counts its assignments
	Why     string `json:"why"`    // of the last one
	Moves   uint16 `json:"moves"`  // away from home by trouble
	Deaths  uint8  `json:"deaths"` // of leaders in a row, each soon after it took the journal
	Leader  *int32 `json:"leader"` // null: none is known
	Epoch   uint32 `json:"epoch"`  // the last one known; 0: none
}

// Move is a journal that changes hands.
type Move struct {
	Journal uint32    `json:"journal"`
	Taking  bool      `json:"taking"` // by the reporting node; false: it hands it over
	Since   time.Time `json:"since"`
	Waits   string    `json:"waits"` // "until ...", in words
}
