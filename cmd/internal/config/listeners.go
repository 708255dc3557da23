package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// plaintext is the scheme of listeners without security, and the name of one that has none.
const plaintext = "plaintext"

// maxListenerName is the longest name of a listener, in bytes.
const maxListenerName = 64

// setListeners reads a list of [name=][plaintext://]host:port.
func setListeners(to *[]Listener, text string) error {
	var all []Listener
	for part := range strings.SplitSeq(text, ",") {
		name, address := cutName(strings.TrimSpace(part), strings.ToUpper(plaintext))
		scheme, rest, hasScheme := strings.Cut(address, "://")
		switch {
		case hasScheme && !strings.EqualFold(scheme, plaintext):
			return fmt.Errorf("there are no %s listeners; write host:port or name=host:port", scheme)
		case hasScheme:
			address = rest
		}
		if _, _, err := splitAddress(address); err != nil {
			return err
		}
		switch {
		case !listenerName(name):
			return fmt.Errorf("%q is no name of a listener; write up to %d letters, digits, - and _", name, maxListenerName)
		case findListener(all, name) != nil:
			return fmt.Errorf("two listeners are called %s; write name=host:port", name)
		}
		all = append(all, Listener{Name: name, Address: address})
	}
	*to = all
	return nil
}

// cutName cuts name=rest; the name is in capitals, as Kafka writes it. Without a name it is
// the usual one.
func cutName(text, usual string) (name, rest string) {
	name, rest, named := strings.Cut(text, "=")
	if !named {
		return usual, text
	}
	return strings.ToUpper(name), rest
}

func listenerName(name string) bool {
	other := func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}
	return name != "" && len(name) <= maxListenerName && !strings.ContainsFunc(name, other)
}

func findListener(all []Listener, name string) *Listener {
	if i := slices.IndexFunc(all, func(l Listener) bool { return l.Name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// setAdvertised reads a list of host:port for the first listener, and name=host:port for that
// of the name.
func setAdvertised(listeners []Listener, text string) error {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, address := cutName(strings.TrimSpace(part), listeners[0].Name)
		host, port, err := splitAddress(address)
		if err != nil {
			return err
		}
		if isWildcard(host) || port == 0 {
			return errors.New("clients cannot connect to it; name a host and a port that they can reach")
		}
		switch l := findListener(listeners, name); {
		case l == nil:
			return noListener(name, listeners)
		case l.Advertise != "":
			return fmt.Errorf("listener %s has two addresses; write name=host:port for each", l.Name)
		default:
			l.Advertise = address
		}
	}
	return nil
}

func setInterBroker(s *Serve, name string) error {
	name = strings.ToUpper(name)
	if name == "" {
		name = s.Listeners[0].Name
	}
	if findListener(s.Listeners, name) == nil {
		return noListener(name, s.Listeners)
	}
	s.InterBroker = name
	return nil
}

func noListener(name string, all []Listener) error {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return fmt.Errorf("--listen has no listener called %s; name one of %s", name, strings.Join(names, ", "))
}
