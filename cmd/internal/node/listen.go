package node

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// clientListener is an open listener for Kafka clients.
type clientListener struct {
	name     string
	listener net.Listener
	shown    kafka.Address // that clients connect to
}

// listen opens the listeners for Kafka clients.
func (n *node) listen(closers *stack) error {
	for i, l := range n.cfg.Listeners {
		ln, err := n.sockets.listen(l.Address, listenFlag, sameBefore(n.cfg.Listeners[:i], l.Address))
		if err != nil {
			return err
		}
		closers.push(quietly(ln.Close))
		c := clientListener{name: l.Name, listener: ln}
		if c.shown, err = advertised(l.Advertise, ln); err != nil {
			return err
		}
		n.listeners = append(n.listeners, c)
	}
	return nil
}

// sameBefore counts listeners with an address, which a port of 0 makes different ones.
func sameBefore(all []config.Listener, address string) (n int) {
	for _, l := range all {
		if l.Address == address {
			n++
		}
	}
	return n
}

// advertised returns the address that clients connect to, by default that of the listener.
func advertised(addr string, ln net.Listener) (kafka.Address, error) {
	if addr == "" {
		addr = ln.Addr().String()
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return kafka.Address{}, fmt.Errorf("address for clients %q: %w; set --advertise host:port", addr, err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return kafka.Address{}, fmt.Errorf("address for clients %q: %w; set --advertise host:port", addr, err)
	}
	return kafka.Address{Host: host, Port: int32(n)}, nil
}

// endpoints returns the listeners as the server takes them.
func (n *node) endpoints() (all []listener.Endpoint) {
	for _, l := range n.listeners {
		all = append(all, listener.Endpoint{Name: l.name, Listener: l.listener})
	}
	return all
}

// addresses returns where clients reach this node, by the name of the listener.
func (n *node) addresses() map[string]kafka.Address {
	all := map[string]kafka.Address{}
	for _, l := range n.listeners {
		all[l.name] = l.shown
	}
	return all
}

// bound returns the addresses of the listeners as a log line shows them: the names only if
// there are several.
func (n *node) bound() string {
	if len(n.listeners) == 1 {
		return n.listeners[0].listener.Addr().String()
	}
	return n.listed("=", func(l *clientListener) string { return l.listener.Addr().String() })
}

// listed lists the listeners as name, between, address.
func (n *node) listed(between string, address func(*clientListener) string) string {
	all := make([]string, len(n.listeners))
	for i := range n.listeners {
		all[i] = n.listeners[i].name + between + address(&n.listeners[i])
	}
	return strings.Join(all, ",")
}

// shownAddress is the address that clients connect to, as host:port.
func (l *clientListener) shownAddress() string {
	return net.JoinHostPort(l.shown.Host, strconv.Itoa(int(l.shown.Port)))
}
