package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// setNATS reads where announcements go. The other fields of NATS are settings of their own.
func setNATS(to *NATS, text string) error {
	const forms = "write embedded, embedded://host:port, nats://host:port[,host:port] or tls://host:port[,host:port]"
	scheme, rest, hasScheme := strings.Cut(text, "://")
	to.Embedded, to.Listen, to.Servers = false, "", nil
	switch {
	case text == "embedded":
		to.Embedded = true
		return nil
	case hasScheme && scheme == "embedded":
		if _, _, err := splitAddress(rest); err != nil {
			return err
		}
		to.Embedded, to.Listen = true, rest
		return nil
	case hasScheme && (scheme == "nats" || scheme == "tls"):
		for s := range strings.SplitSeq(rest, ",") {
			s = strings.TrimPrefix(strings.TrimSpace(s), scheme+"://")
			if !isServer(s) {
				return fmt.Errorf("not a list of servers' host:port; %s", forms)
			}
			to.Servers = append(to.Servers, scheme+"://"+s)
		}
		return nil
	}
	return errors.New(forms)
}

// isServer reports whether a text is the host:port of a server elsewhere.
func isServer(text string) bool {
	host, port, err := splitAddress(text)
	return err == nil && host != "" && port != 0 && !strings.ContainsAny(host, "@/")
}

// setRoutes reads a list of servers; an empty one is none.
func setRoutes(to *[]string, text string) error {
	*to = nil
	if text == "" {
		return nil
	}
	for s := range strings.SplitSeq(text, ",") {
		s = strings.TrimSpace(s)
		if !isServer(s) {
			return fmt.Errorf("%q is not host:port of another node; write a list like 10.0.0.1:6222,10.0.0.2:6222", s)
		}
		*to = append(*to, s)
	}
	return nil
}

func setOptionalAddress(to *string, text string) error {
	if text == "" {
		*to = ""
		return nil
	}
	return setAddress(to, text)
}

func setOptionalPath(to *string, text string) error {
	if text == "" {
		*to = ""
		return nil
	}
	return setPath(to, text)
}

// validateNATS refuses settings of NATS that do nothing together.
func (r *Resolved) validateNATS() error {
	n := &r.Serve.NATS
	switch {
	case !n.Embedded && n.Cluster != "":
		return r.fail("nats-cluster", errors.New("is for the embedded NATS; leave it out, or set --nats=embedded"))
	case len(n.Routes) > 0 && n.Cluster == "":
		return r.fail("nats-routes", errors.New("needs an address for the other nodes; set --nats-cluster to a host:port of this machine"))
	case n.Embedded && n.Credentials != "":
		return r.fail("nats-credentials", errors.New("is for NATS servers elsewhere; leave it out, or name them by --nats"))
	case n.CA != "" && !slices.ContainsFunc(n.Servers, func(s string) bool { return strings.HasPrefix(s, "tls://") }):
		return r.fail("nats-ca", errors.New("is for NATS servers elsewhere that encrypt; leave it out, or name them as tls://host:port by --nats"))
	}
	return nil
}
