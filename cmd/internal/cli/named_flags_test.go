package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var (
	flagName = regexp.MustCompile(`(?:^|[^-\w])--([a-z][a-z0-9-]*)`)
	// commandLine is one of varve's command lines within a text: up to a quote,
	// or a character that ends a command in a shell.
	commandLine = regexp.MustCompile("\\bvarve ((?:[^\"\\n;|<>`#]|\\\\\n)+)")
)

// flagsOf returns all flags that a command takes.
func flagsOf(cmd *cobra.Command) []string {
	names := []string{"help"}
	for c := cmd; c != nil; c = c.Parent() {
		for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			if c != cmd && set == c.Flags() {
				continue
			}
			set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		}
	}
	return names
}

// walkCommands calls fn with a command and all below it.
func walkCommands(cmd *cobra.Command, fn func(*cobra.Command)) {
	fn(cmd)
	for _, c := range cmd.Commands() {
		walkCommands(c, fn)
	}
}

// checkCommandLines reports flags that a text names after a command that does
// not have them.
func checkCommandLines(t *testing.T, root *cobra.Command, where, text string) {
	t.Helper()
	for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
		cmd := root
		words := strings.Fields(strings.ReplaceAll(m[1], "\\\n", " "))
		for len(words) > 0 {
			i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == words[0] })
			if i < 0 {
				break
			}
			cmd, words = cmd.Commands()[i], words[1:]
		}
		for _, f := range flagName.FindAllStringSubmatch(strings.Join(words, " "), -1) {
			if !slices.Contains(flagsOf(cmd), f[1]) {
				t.Errorf("%s: %q has no flag --%s: %s", where, cmd.CommandPath(), f[1], strings.TrimSpace(m[0]))
			}
		}
	}
}

// literals calls fn with the text of every string in the Go files below folder,
// those of tests left out.
func literals(t *testing.T, folder string, fn func(where, text string)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					fn(fset.Position(lit.Pos()).String(), text)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFlagsThatTextsNameExist reads every text that the program may print, and
// the documents: advice to use a missing flag is of no help.
func TestFlagsThatTextsNameExist(t *testing.T) {
	root := newRoot(&Env{})
	var all []string
	walkCommands(root, func(cmd *cobra.Command) { all = append(all, flagsOf(cmd)...) })
	serve, _, err := root.Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	top := filepath.Join("..", "..", "..")
	named := 0
	for folder, known := range map[string][]string{
		"cmd/internal": all, "cmd/varve": all, "ingest": flagsOf(serve), "fetch": flagsOf(serve), "metadata": flagsOf(serve),
		// bucket probe and bucket verify use these as serve does.
		"tiering": {"bucket"}, "cmd/internal/bucket": {"bucket"},
	} {
		literals(t, filepath.Join(top, filepath.FromSlash(folder)), func(where, text string) {
			checkCommandLines(t, root, where, text)
			for _, f := range flagName.FindAllStringSubmatch(commandLine.ReplaceAllString(text, ""), -1) {
				named++
				if f[1] == "x-s3" {
					continue // the end of a bucket's name
				}
				if !slices.Contains(known, f[1]) {
					t.Errorf("%s: there is no flag --%s, or not for all that use this package: %q", where, f[1], text)
				}
			}
		})
	}
	walkCommands(root, func(cmd *cobra.Command) {
		checkCommandLines(t, root, cmd.CommandPath(), cmd.Long+"\n"+cmd.Example)
		// A flag that a help text names without a command is the command's own.
		own := commandLine.ReplaceAllString(cmd.Long, "")
		for _, f := range flagName.FindAllStringSubmatch(own, -1) {
			if cmd.Runnable() && !slices.Contains(flagsOf(cmd), f[1]) {
				t.Errorf("help of %q names --%s, which it does not have", cmd.CommandPath(), f[1])
			}
		}
	})
	for _, name := range []string{"README.md", "cmd/varve/deploy/varve.service", "cmd/varve/deploy/varve@.service", "cmd/varve/deploy/Containerfile", "cmd/varve/deploy/varve.yaml",
		"cmd/varve/deploy/cluster.yaml", "cmd/varve/deploy/compose.yaml"} {
		text, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		checkCommandLines(t, root, name, string(text))
		for _, f := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(append(all, "store-delay", "stores", "peer"), f[1]) { // of testenv/bench
				t.Errorf("%s: there is no flag --%s", name, f[1])
			}
		}
	}
	if named < 50 {
		t.Fatalf("found %d names of flags", named)
	}
}
