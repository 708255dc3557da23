package config

import (
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/varvelog/varve/cmd/internal/bucket"
)

const sourceDefault = "default"

// Value is one resolved setting.
type Value struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // "default", "file varve.yaml:3", "environment VARVE_X" or "flag --x"
}

// Resolved is a checked configuration, with the source of each value.
type Resolved struct {
	Serve  Serve
	Values []Value // one for each setting, in the order of the table
}

func (r *Resolved) value(name string) *Value {
	for i := range r.Values {
		if r.Values[i].Name == name {
			return &r.Values[i]
		}
	}
	panic("config: no setting " + name)
}

// fail returns a one-line error that says which value is wrong, where it comes
// from, and why it is wrong. It leaves out a user and password that do not
// belong in the value.
func (r *Resolved) fail(name string, err error) error {
	v := r.value(name)
	return fmt.Errorf("%s=%q (%s): %w", v.Name, bucket.Redact(v.Value), v.Source, err)
}

// text is a flag's value as the user wrote it. It is parsed when all layers are
// known, so that an error names the layer.
type text struct {
	value string
	kind  string
}

func (t *text) String() string     { return t.value }
func (t *text) Set(s string) error { t.value = s; return nil }
func (t *text) Type() string       { return t.kind }

// AddFlags adds one flag for each setting.
func AddFlags(fs *pflag.FlagSet) {
	for _, st := range settings {
		f := fs.VarPF(&text{st.def, st.kind}, st.name, "", st.doc)
		if st.kind == "bool" {
			f.NoOptDefVal = "true"
		}
		f.Hidden = slices.Contains(hidden, st.name)
	}
}

// Load resolves the configuration from four layers. The first three are the given
// flags (AddFlags made them), the environment in the form of os.Environ, and the
// YAML file at path file ("" for none). The last one is the defaults.
func Load(fs *pflag.FlagSet, environ []string, file string) (*Resolved, error) {
	fromFile, err := readFile(file)
	if err != nil {
		return nil, err
	}
	fromEnv, err := readEnviron(environ)
	if err != nil {
		return nil, err
	}
	r := &Resolved{}
	for _, st := range settings {
		r.Values = append(r.Values, pick(st, fs, fromEnv, fromFile))
	}
	for i, st := range settings {
		if err := st.set(&r.Serve, r.Values[i].Value); err != nil {
			return nil, r.fail(st.name, err)
		}
	}
	r.derive()
	if err := r.validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// pick returns a setting's value from the highest layer that has one.
func pick(st setting, fs *pflag.FlagSet, fromEnv, fromFile map[string]Value) Value {
	if f := fs.Lookup(st.name); f != nil && f.Changed {
		return Value{st.name, f.Value.String(), "flag --" + st.name}
	}
	if v, ok := fromEnv[st.name]; ok {
		return v
	}
	if v, ok := fromFile[st.name]; ok {
		return v
	}
	return Value{st.name, st.def, sourceDefault}
}
