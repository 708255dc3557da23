package listener

// Principal is the identity that a client has shown, as Kafka names it.
type Principal struct{ Type, Name string }

func (p Principal) String() string { return p.Type + ":" + p.Name }

// Anonymous is the principal of clients that show none.
func Anonymous() Principal { return Principal{Type: "User", Name: "ANONYMOUS"} }

// Client is the sender of a request. It never changes: when a client shows more of
// itself, the requests that follow have another one. A handshake that authenticates the
// client sets the principal in the same way, and a request that arrives inside another
// (KIP-590) can have a Client of its own.
type Client struct {
	Principal       Principal
	ID              string // the client id
	Address         string // with the port
	Host            string // the address without the port
	Listener        string // the name of the endpoint that it connected to
	SASL            bool   // it authenticates by requests
	Awaited         bool   // it has to authenticate first
	Tokens          bool   // its next frames are tokens of SASL, without headers
	Session         Session
	SoftwareName    string // empty until the client has sent ApiVersions
	SoftwareVersion string
	Peer            Peer // the node of this cluster that it has proved to be
	// Handshake is the state of an authentication under way. It belongs to the handlers of
	// that.
	Handshake any
}

// Peer is a node as it has proved itself. The zero value is none.
type Peer struct {
	Node, Start [16]byte
	Reads       bool // it may only read
}

// software is name and version as one word for logs.
func (c *Client) software() string {
	if c.SoftwareVersion == "" {
		return c.SoftwareName
	}
	return c.SoftwareName + " " + c.SoftwareVersion
}

// Logged returns the client as arguments of a log line. The key of the address says
// what the client has to do with it.
func (c *Client) Logged(key string) []any {
	return []any{key, c.Address, "client_id", c.ID, "software", c.software(), "principal", c.Principal.String(), "listener", c.Listener}
}
