package lint

import (
	"slices"
	"strings"
)

const module = "github.com/varvelog/varve/"

// mayImport says which of our top-level folders each may import. Test code may
// import testenv besides. testenv itself imports only the formats and the journal
// below, so that all other tests can import it; its own tests may import all.
var mayImport = map[string][]string{
	"tiering":  {"tiering"},
	"metadata": {"metadata", "tiering"},
	"ingest":   {"ingest", "metadata", "tiering"},
	"fetch":    {"fetch", "metadata", "tiering"},
	"cmd":      {"cmd", "ingest", "fetch", "metadata", "tiering"},
	"testenv":  {"testenv", "tiering"},
}

// stores holds the packages that speak to one kind of store. Code that
// needs a store takes the interface; which one it gets is decided in cmd.
const stores = "tiering/objstore/"

// coordinators holds the packages that run on the write path and the metadata.
// These do not know them: an adapter in cmd brings both together.
const coordinators = "metadata/coordinator"

// listener serves connections. It knows nothing of topics, groups and records. It may
// import frames, the memory that requests lie in.
const (
	listener = "cmd/internal/kafka/listener"
	frames   = "tiering/buffer"
)

func imports(t *tree) (findings []Finding) {
	for f := range t.source {
		allowed := mayImport[f.layer()]
		for _, spec := range f.ast.Imports {
			target, ours := strings.CutPrefix(importPath(spec), module)
			if !ours {
				continue
			}
			add := func(what, remedy string) {
				findings = append(findings, Finding{Path: f.path, Line: t.line(spec.Pos()), What: what + target, Remedy: remedy})
			}
			layer, _, _ := strings.Cut(target, "/")
			switch {
			case f.test() && (layer == "testenv" || f.layer() == "testenv"):
			case !slices.Contains(allowed, layer):
				add(f.layer()+" imports ", f.layer()+" may import "+strings.Join(allowed, ", ")+
					" only: let the lower package define an interface, and wire them in cmd")
			case below(listener, f.path) && !below(listener, target) && target != frames:
				add("the listener imports ", "let a handler do it: they are in the folder above")
			case f.layer() != "cmd" && !f.test() && isStore(target) && !strings.HasPrefix(f.path, stores):
				add("wires the adapter ", "take an objstore.Store, and wire the adapter in cmd")
			case f.layer() != "cmd" && !f.test() && below(coordinators, target) && !below(coordinators, f.path):
				add("imports of the coordinators ", "use words of the package's own, and write an adapter in cmd")
			}
		}
	}
	return findings
}

// below reports whether a path is that of a folder, or leads into it.
func below(folder, path string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/')
}

func isStore(target string) bool {
	name, ok := strings.CutPrefix(target, stores)
	return ok && slices.Contains([]string{"file", "mem", "minio", "s3"}, name)
}
