package lint_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/varvelog/varve/testenv/lint"
)

// clean is a repository without findings.
func clean() fstest.MapFS {
	files := map[string]string{
		".gitignore":                "# built\n/bin/\n*.jsonl\n",
		"README.md":                 "# varve\nSee tiering/journal/FORMAT.md and https://example.org/OTHER.md.\n",
		"tiering/store.go":          "// Package tiering holds.\npackage tiering\n\nimport \"time\"\n\nvar T = time.Now\n",
		"tiering/more.go":           "// Licence.\n\npackage tiering\n\ntype Box[T any] struct{ size T }\n\nfunc (b *Box[T]) Open() {}\n\ntype Shelf interface{ Find() }\n",
		"tiering/x_test.go":         "package tiering_test\n\nimport (\n\t\"time\"\n\t\"github.com/varvelog/varve/testenv\"\n)\n\nfunc f() { time.Sleep(1); testenv.F() }\n\nfunc TestBox() {}\n",
		"tiering/journal/a.go":      "// Package journal is said in FORMAT.md, rule 1.\npackage journal\n",
		"tiering/journal/FORMAT.md": "See ../store.go, `tiering.T`, `main.main()`, `Box.Open`, `tiering.Box.size`, `Shelf.Find`, `TestBox`, `time.Now`, `a.go`, `If-None-Match: *`.\n```\ntiering.Gone `tiering.Gone`\n```\n",
		"cmd/varve/main.go": "// Command varve runs.\npackage main\n\nimport (\n\t\"os\"\n" +
			"\t\"github.com/varvelog/varve/tiering/objstore/file\"\n)\n\nfunc main() { file.Open(); os.Exit(1) }\n",
		"bin/built.go":       "package broken; TODO",
		"events.jsonl":       "{}",
		"fetch/picture.png":  "\x00\x01 see NOTHING.md",
		"tiering/suite/s.go": "// Package suite tests.\npackage suite\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc F(testing.TB) { time.Sleep(1) }\n",
	}
	fsys := make(fstest.MapFS)
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func check(t *testing.T, fsys fstest.MapFS) []lint.Finding {
	t.Helper()
	findings, err := lint.Check(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func TestCleanRepositoryHasNoFindings(t *testing.T) {
	for _, finding := range check(t, clean()) {
		t.Error(finding)
	}
}

// Each case adds one file to the clean repository, and names the findings.
func TestEachRuleFinds(t *testing.T) {
	doc := func(pkg string) string { return "// Package " + pkg + " is.\npackage " + pkg + "\n" }
	for name, test := range map[string]struct {
		path, text string
		want       []string // "path:line: part of the text"
	}{
		"entry at the root":   {"notes.txt", "", []string{"notes.txt:0: does not belong at the root"}},
		"no package doc":      {"fetch/a.go", "package fetch\n", []string{"fetch:0: without a doc comment"}},
		"two package docs":    {"tiering/z.go", "// Package tiering again.\npackage tiering\n", []string{"tiering/z.go:1: second package comment, after that of tiering/store.go"}},
		"detached doc":        {"tiering/z.go", "// Package tiering is.\n\npackage tiering\n", []string{"tiering/z.go:1: apart from its package clause"}},
		"doc in a test":       {"tiering/z_test.go", "// Package tiering is.\npackage tiering\n", []string{"tiering/z_test.go:1: in a test file"}},
		"doc without opening": {"fetch/a.go", "// Serves reads.\npackage fetch\n", []string{"fetch/a.go:1: unusual opening"}},
		"upward import": {"tiering/z.go", "package tiering\n\nimport _ \"github.com/varvelog/varve/ingest\"\n",
			[]string{"tiering/z.go:3: tiering imports ingest"}},
		"coordinators from below": {"ingest/a.go", doc("ingest") + "import _ \"github.com/varvelog/varve/metadata/coordinator/shard\"\n",
			[]string{"ingest/a.go:3: imports of the coordinators metadata/coordinator/shard"}},
		"sideways import": {"fetch/a.go", doc("fetch") + "import _ \"github.com/varvelog/varve/ingest/wal\"\n",
			[]string{"fetch/a.go:3: fetch imports ingest/wal"}},
		"upward import in a test": {"metadata/a_test.go", "package metadata\n\nimport _ \"github.com/varvelog/varve/cmd/x\"\n",
			[]string{"metadata/a_test.go:3: metadata imports cmd/x"}},
		"testenv outside of tests": {"cmd/varve/a.go", "package main\n\nimport _ \"github.com/varvelog/varve/testenv\"\n",
			[]string{"cmd/varve/a.go:3: cmd imports testenv"}},
		"core in testenv": {"testenv/a.go", doc("testenv") + "import _ \"github.com/varvelog/varve/fetch\"\n",
			[]string{"testenv/a.go:3: testenv imports fetch"}},
		"adapter wired in the core": {"fetch/a.go", doc("fetch") + "import _ \"github.com/varvelog/varve/tiering/objstore/minio\"\n",
			[]string{"fetch/a.go:3: wires the adapter tiering/objstore/minio"}},
		"a key made by a reader": {"fetch/a.go", doc("fetch") + "import \"github.com/varvelog/varve/tiering/segment\"\n\nvar key = segment.JournalKey(1, 2)\n",
			[]string{"fetch/a.go:5: uses segment.JournalKey"}},
		"listener that knows topics": {"cmd/internal/kafka/listener/a.go", doc("listener") + "import _ \"github.com/varvelog/varve/metadata\"\n",
			[]string{"cmd/internal/kafka/listener/a.go:3: the listener imports metadata"}},
		"topic found around the gate": {"cmd/internal/kafka/a.go", doc("kafka") + "func f() { s.topics.TopicByID(id); s.gate.topic(r, toRead, id) }\n",
			[]string{"cmd/internal/kafka/a.go:3: finds topics with TopicByID"}},
		"exit, also as a value": {"ingest/a.go", doc("ingest") + "import \"os\"\n\nvar exit = os.Exit\n", []string{"ingest/a.go:5: uses os.Exit"}},
		"log.Fatalf":            {"ingest/a.go", doc("ingest") + "import \"log\"\n\nfunc f() { log.Fatalf(\"\") }\n", []string{"ingest/a.go:5: uses log.Fatalf"}},
		"signals":               {"ingest/a.go", doc("ingest") + "import \"os/signal\"\n\nfunc f() { signal.Reset() }\n", []string{"ingest/a.go:5: uses signal.Reset"}},
		"sleep under another name": {"ingest/a.go", doc("ingest") + "import clock \"time\"\n\nfunc f() { clock.Sleep(1) }\n",
			[]string{"ingest/a.go:5: uses clock.Sleep"}},
		"file of 450 lines": {"fetch/a.go", doc("fetch") + strings.Repeat("\n", 448), nil},
		"long file":         {"fetch/a.go", doc("fetch") + strings.Repeat("\n", 449), []string{"fetch/a.go:0: 451 lines, over 450"}},
		"long function":     {"fetch/a.go", doc("fetch") + "func f() {\n" + strings.Repeat("\n", 59) + "}\n", []string{"fetch/a.go:3: function f has 61 lines, over 60"}},
		"long function of a test": {"fetch/a_test.go", "package fetch\n\nfunc f() {\n" + strings.Repeat("\n", 99) + "}\n",
			[]string{"fetch/a_test.go:3: function f has 101 lines, over 100"}},
		"absent document": {"fetch/a.go", doc("fetch") + "// As RULES.md says.\nvar _ = \"../docs/RULES.md\"\n",
			[]string{"fetch/a.go:3: RULES.md", "fetch/a.go:4: ../docs/RULES.md"}},
		"document of elsewhere": {"tiering/z.go", "package tiering // see FORMAT.md\n", []string{"tiering/z.go:1: FORMAT.md"}},
		"outside of the tree":   {"Makefile", "x:\n\tcp ../notes/text .\n", []string{"Makefile:2: ../notes/text"}},
		"folder of one machine": {"Makefile", "x:\n\tls /root/x\n", []string{"Makefile:2: folder of one machine"}},
		"issue number": {"fetch/a.go", doc("fetch") + "// See issue 12.\n\nvar x = \"issue 12\" // (#7)\n",
			[]string{"fetch/a.go:3: refers to issue 12", "fetch/a.go:5: refers to #7"}},
		"absent symbols": {"tiering/N.md", "By `tiering.T`,\n`tiering.Gone`, `tiering.Box.Gone`, `Box.Gone`,\n`gone.Box.Open` and `TestGone`.\n", []string{
			"tiering/N.md:2: symbol tiering.Gone", "tiering/N.md:2: symbol tiering.Box.Gone", "tiering/N.md:2: symbol Box.Gone",
			"tiering/N.md:3: symbol gone.Box.Open", "tiering/N.md:3: symbol TestGone"}},
		"exported for tests": {"tiering/objstore/file/a.go", doc("file") + "type T struct{}\n\nfunc Open() {}\nfunc Other() { small() }\nfunc small() {}\nfunc (T) Forgotten() {}\nfunc (t) Hidden() {}\nfunc (T) String() {}\n\ntype t T\n",
			[]string{"tiering/objstore/file/a.go:6: only tests name Other", "tiering/objstore/file/a.go:8: only tests name Forgotten"}},
		"work left over": {"fetch/a.go", doc("fetch") + "// TODO: more.\n", []string{"fetch/a.go:3: leaves work for later"}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := clean()
			fsys[test.path] = &fstest.MapFile{Data: []byte(test.text)}
			got := check(t, fsys)
			for i, finding := range got {
				if i >= len(test.want) {
					t.Errorf("more than was expected: %v", finding)
					continue
				}
				where, what, _ := strings.Cut(test.want[i], ": ")
				if where != place(finding) || !strings.Contains(finding.What, what) || finding.Remedy == "" {
					t.Errorf("finding %v, want %s", finding, test.want[i])
				}
			}
			if len(got) < len(test.want) {
				t.Errorf("not found: %q", test.want[len(got):])
			}
		})
	}
}

func place(f lint.Finding) string { return f.Path + ":" + strconv.Itoa(f.Line) }

func TestUnreadableSourceIsAnErrorNotACleanRepository(t *testing.T) {
	fsys := clean()
	fsys["fetch/a.go"] = &fstest.MapFile{Data: []byte("package")}
	if findings, err := lint.Check(fsys); err == nil {
		t.Errorf("findings %v and no error", findings)
	}
	delete(fsys, "fetch/a.go")
	delete(fsys, ".gitignore")
	if findings, err := lint.Check(fsys); err == nil {
		t.Errorf("findings %v and no error", findings)
	}
}
