package announce

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// defaultPort is the port registered for NATS.
const defaultPort = "4222"

// Spec is the NATS that a node uses. The zero Spec is not valid; see Parse.
type Spec struct {
	embedded bool
	host     string // where the embedded server listens, "" if it does not
	port     int    // 0 takes any free port
	servers  []string
}

// Parse reads the value of --nats:
//
//	embedded                    a server in this process that does not listen
//	embedded://127.0.0.1:4222   a server in this process that listens there;
//	                            without a host on 127.0.0.1, without a port on 4222
//	nats://host:port[,...]      servers elsewhere, all of one NATS cluster;
//	tls://host:port[,...]       the same, encrypted
func Parse(value string) (Spec, error) {
	switch {
	case value == "embedded":
		return Spec{embedded: true}, nil
	case strings.HasPrefix(value, "embedded://"):
		return parseEmbedded(strings.TrimPrefix(value, "embedded://"))
	case strings.HasPrefix(value, "nats://"), strings.HasPrefix(value, "tls://"):
		return parseServers(value)
	}
	return Spec{}, fmt.Errorf("read NATS address: want embedded, embedded://127.0.0.1:%s, nats://host:port[,nats://host:port...] or tls://host:port[,tls://host:port...]", defaultPort)
}

func parseEmbedded(address string) (Spec, error) {
	u, err := url.Parse("embedded://" + address)
	if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return Spec{}, fmt.Errorf("read NATS address: embedded:// takes host:port and nothing else, as in embedded://127.0.0.1:%s", defaultPort)
	}
	host, port, err := hostPort(u)
	if err != nil {
		return Spec{}, err
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return Spec{embedded: true, host: host, port: port}, nil
}

func parseServers(value string) (Spec, error) {
	var s Spec
	scheme, _, _ := strings.Cut(value, "://")
	for server := range strings.SplitSeq(value, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = scheme + "://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Scheme != scheme || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return Spec{}, fmt.Errorf("read NATS address: server %d: want %s://host:port", len(s.servers)+1, scheme)
		}
		host, port, err := hostPort(u)
		if err != nil {
			return Spec{}, err
		}
		if host == "" || port == 0 {
			return Spec{}, fmt.Errorf("read NATS address: server %d has no host or port 0", len(s.servers)+1)
		}
		u.Host = net.JoinHostPort(host, strconv.Itoa(port))
		s.servers = append(s.servers, u.String())
	}
	return s, nil
}

func hostPort(u *url.URL) (string, int, error) {
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("read NATS address: port %q is not between 0 and 65535", port)
	}
	return u.Hostname(), int(n), nil
}

// String returns the address without credentials, for people.
func (s Spec) String() string {
	switch {
	case s.embedded && s.host == "":
		return "embedded"
	case s.embedded:
		return "embedded://" + net.JoinHostPort(s.host, strconv.Itoa(s.port))
	}
	redacted := make([]string, len(s.servers))
	for i, server := range s.servers {
		redacted[i] = server
		if u, err := url.Parse(server); err == nil {
			u.User = nil
			redacted[i] = u.String()
		}
	}
	return strings.Join(redacted, ",")
}
