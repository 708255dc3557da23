// Package topicconfig owns varve's knowledge of Kafka's configurations. That is
// the table of topic configs (name, type, default, valid values, effect in
// varve) and the few broker configs that clients ask for.
//
// It promises that a name or value it accepts is one that Kafka knows. A
// refusal names the config and the values that are valid. Every config says
// whether varve acts on it. It never stores anything: a topic's own values live
// in the metadata journal.
//
// Names, types, defaults and ranges are those of Apache Kafka's "Topic Configs"
// page (kafka.apache.org/documentation/#topicconfigs) and of its LogConfig,
// except where the table says otherwise.
package topicconfig

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrInvalid is wrapped by every refusal of a name or a value.
var ErrInvalid = errors.New("invalid topic config")

// MaxValueLen limits the value of any config, in bytes.
const MaxValueLen = 2048

// Type is a config's type, numbered as in answers to DescribeConfigs.
type Type int8

// The types in use, by Kafka's DescribeConfigsResponse.ConfigType.
const (
	Boolean Type = 1
	String  Type = 2
	Int     Type = 3
	Long    Type = 5
	Double  Type = 6
	List    Type = 7
)

// Effect is the effect of a config's value in varve.
type Effect int8

const (
	// Applied: varve acts on it.
	Applied Effect = iota + 1
	// Ignored: it tunes a part that varve does not have. It is kept and
	// described so that tools written for Kafka work.
	Ignored
)

// String returns the word for people.
func (e Effect) String() string {
	switch e {
	case Applied:
		return "applied"
	case Ignored:
		return "ignored"
	}
	return fmt.Sprintf("effect %d", int8(e))
}

// Def describes one topic config.
type Def struct {
	Name    string
	Type    Type
	Default string
	Broker  string // the broker config from which Kafka takes the default, "" if none
	Effect  Effect
	Doc     string // one line

	check func(value string) error // the error says which values are valid
}

// Validate returns an error that wraps ErrInvalid if value is not valid.
func (d Def) Validate(value string) error {
	if len(value) > MaxValueLen {
		return fmt.Errorf("%w: %s is %d bytes long, the limit is %d", ErrInvalid, d.Name, len(value), MaxValueLen)
	}
	if err := d.check(value); err != nil {
		return fmt.Errorf("%w: %s=%q: %w", ErrInvalid, d.Name, value, err)
	}
	return nil
}

// Defs returns the table of all known topic configs, by name.
func Defs() []Def { return slices.Clone(table) }

// Lookup finds a config by its name.
func Lookup(name string) (Def, bool) {
	i, ok := byName[name]
	if !ok {
		return Def{}, false
	}
	return table[i], true
}

// Validate checks the configs given for a topic, names and values. It returns
// an error that wraps ErrInvalid for the first invalid one in order of names.
func Validate(configs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		d, ok := Lookup(name)
		if !ok {
			return fmt.Errorf("%w: unknown topic config %.100q", ErrInvalid, name)
		}
		if err := d.Validate(configs[name]); err != nil {
			return err
		}
	}
	return checkLags(configs)
}

// checkLags refuses a pair of lags that no compaction could keep.
func checkLags(configs map[string]string) error {
	r := reader{configs: configs}
	least, most := r.integer("min.compaction.lag.ms"), r.integer("max.compaction.lag.ms")
	if r.err == nil && least > most {
		return fmt.Errorf("%w: min.compaction.lag.ms=%d is above max.compaction.lag.ms=%d", ErrInvalid, least, most)
	}
	return r.err
}

var byName = func() map[string]int {
	m := make(map[string]int, len(table))
	for i, d := range table {
		m[d.Name] = i
	}
	return m
}()
