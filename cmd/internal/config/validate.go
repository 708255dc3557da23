package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
)

// isWildcard reports whether listening on host means every address of the
// machine.
func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// isLoopback reports whether only this machine can connect to host. A name
// other than localhost counts as reachable: the address it resolves to can
// change.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// derive fills in the settings whose default depends on others. The bucket in
// the data folder is created without a flag: only this process can have created
// it.
func (r *Resolved) derive() {
	if r.Serve.Bucket == "" {
		if v := r.value("create-bucket"); v.Source == sourceDefault {
			r.Serve.CreateBucket, v.Value = true, "true"
		}
		folder := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(r.Serve.DataDir, "bucket"))}
		r.Serve.Bucket = folder.String()
		v := r.value("bucket")
		v.Value, v.Source = r.Serve.Bucket, sourceDefault
	}
	if s := &r.Serve; s.MaxConnectionsPerAddress == 0 {
		s.MaxConnectionsPerAddress = (s.MaxConnections + 1) / 2
		v := r.value("max-connections-per-address")
		v.Value, v.Source = strconv.Itoa(s.MaxConnectionsPerAddress), sourceDefault
	}
}

// validate checks the settings that depend on each other. Every error is one
// line that names the setting, the source of its value, and the remedy.
func (r *Resolved) validate() error {
	if err := r.validateListeners(); err != nil {
		return err
	}
	if err := r.validateNATS(); err != nil {
		return err
	}
	s := &r.Serve
	if s.HasRole(RoleTiering) && !s.HasRole(RoleIngest) {
		return r.fail("roles", errors.New("tiering works on the journals that this process leads; add ingest, or leave tiering out"))
	}
	if s.Archive && s.HasRole(RoleIngest) {
		return r.fail("archive", errors.New("is for a node that only reads; add --roles fetch"))
	}
	if s.GroupMaxSession < s.GroupMinSession {
		return r.fail("group-max-session-timeout", errors.New("is less than --group-min-session-timeout; raise it, or lower --group-min-session-timeout"))
	}
	if s.WALMaxBytes < flushWindow*s.FlushBytes {
		return r.fail("wal-max-bytes", fmt.Errorf("too small for --flush-bytes; set at least %s", formatSize(flushWindow*s.FlushBytes)))
	}
	return nil
}

// validateListeners refuses addresses that other machines can reach, unless
// --insecure-listen is set: no port has authentication.
func (r *Resolved) validateListeners() error {
	s := &r.Serve
	type address struct{ name, address string }
	var all []address
	for _, l := range s.Listeners {
		all = append(all, address{"listen", l.Address})
	}
	taken := map[string]string{}
	for _, l := range append(all, address{"http", s.HTTP}, address{"nats", s.NATS.Listen}, address{"nats-cluster", s.NATS.Cluster}) {
		if l.address == "" {
			continue
		}
		host, port, err := splitAddress(l.address)
		if err != nil {
			return r.fail(l.name, err)
		}
		if !isLoopback(host) && !s.InsecureListen {
			return r.fail(l.name, errors.New("there is no authentication yet; listen on 127.0.0.1, or add --insecure-listen if everyone who reaches this address may read and write"))
		}
		if other, ok := taken[l.address]; ok && port != 0 {
			return r.fail(l.name, fmt.Errorf("is the address of --%s as well; choose another port", other))
		}
		taken[l.address] = l.name
	}
	for _, l := range s.Listeners {
		if host, _, _ := splitAddress(l.Address); isWildcard(host) && l.Advertise == "" {
			return r.fail("listen", errors.New("clients cannot connect to every address; set --advertise to the host:port they reach this node at"))
		}
	}
	return nil
}
