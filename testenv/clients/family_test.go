package clients

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/cache"
	"github.com/varvelog/varve/testenv/maven"
	"github.com/varvelog/varve/testenv/proc"
)

// family is a kind of clients.
type family struct {
	name    string
	always  bool                            // needs nothing beyond make test's needs
	install func(t *testing.T) proc.Command // or skips
	plain   bool                            // records that it writes have no headers, and the time of sending
	lacks   map[string]string               // why the library cannot do a feature
}

var families = []family{
	{name: "franz-go", always: true, install: goProgram("franz")},
	{name: "sarama", always: true, install: goProgram("sarama"), lacks: map[string]string{
		"sticky": "sarama has no cooperative rebalancing"}},
	{name: "kafka-go", always: true, install: goProgram("kafkago"), lacks: map[string]string{
		"idempotent":     "kafka-go has no idempotent producer",
		"delete-records": "kafka-go has no DeleteRecords",
		"sticky":         "kafka-go has no cooperative rebalancing",
		"static":         "kafka-go has no static membership"}},
	{name: "kcat", always: true, plain: true, install: kcatProgram, lacks: map[string]string{
		steered:          "kcat's program prints no record before it has all",
		"topics":         "kcat creates no topics",
		"configs":        "kcat alters no topics",
		"partitions":     "kcat alters no topics",
		"delete-records": "kcat deletes no records",
		"sticky":         "kcat 1.7 does not handle cooperative rebalancing",
		"group-admin":    "kcat does not look after groups"}},
	{name: "confluent-kafka", install: pythonDriver},
	{name: "kafkajs", install: nodeDriver, lacks: map[string]string{
		"sticky": "kafkajs has no cooperative rebalancing",
		"static": "kafkajs has no static membership"}},
	{name: "java-3.6", install: javaDriver("clients-3.6")},
	{name: "java-4", install: javaDriver("tools-4")},
}

// installTimeout bounds the installation of one family.
const installTimeout = 8 * time.Minute

// tool returns the path of a program that a family needs, or skips.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// here returns the absolute path of a file in this folder.
func here(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// installed returns the cached folder of a family, and fills it first if it is
// missing. The pins decide its content.
func installed(t *testing.T, name string, pins [][]byte, fill func(dir string) error) string {
	t.Helper()
	path, err := cache.Path("clients-"+name, pins...)
	if err == nil {
		err = cache.Folder(path, t.Output(), fill)
	}
	if err != nil {
		t.Fatalf("install %s: %v", name, err)
	}
	return path
}

// command runs a command to its end, for a folder of its own.
func command(dir string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, io.Writer(&output)
	if err := cmd.Run(); err != nil {
		return errors.Join(err, errors.New(output.String()))
	}
	return nil
}

// goProgram builds a program of the module golang.
func goProgram(name string) func(t *testing.T) proc.Command {
	return func(t *testing.T) proc.Command {
		binary := filepath.Join(t.TempDir(), name)
		cmd := exec.Command("go", "build", "-mod=readonly", "-buildvcs=false", "-o", binary, "./"+name)
		cmd.Dir, cmd.Env = "golang", append(os.Environ(), "GOWORK=off")
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, output)
		}
		return proc.Command{Path: binary}
	}
}

// kcatProgram is the program that runs kcat.
func kcatProgram(t *testing.T) proc.Command {
	testenv.LookTool(t, "kcat")
	return goProgram("kcat")(t)
}

// jars returns the class path of a profile in java/pom.xml.
func jars(t *testing.T, profile string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	path, err := maven.Jars(ctx, "clients-"+profile, read(t, here(t, filepath.Join("java", "pom.xml"))), profile, t.Output())
	if errors.Is(err, maven.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("install %s: %v", profile, err)
	}
	return path
}

// jvm is the flags of every Java process: many small ones on few cores.
var jvm = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m"}

// javaDriver compiles the program in java against a profile's jars.
func javaDriver(profile string) func(t *testing.T) proc.Command {
	return func(t *testing.T) proc.Command {
		java, javac, libraries, classes := tool(t, "java"), tool(t, "javac"), jars(t, profile), t.TempDir()
		sources, err := filepath.Glob(here(t, filepath.Join("java", "*.java")))
		if err != nil {
			t.Fatal(err)
		}
		if err := command(".", append([]string{javac, "-nowarn", "-d", classes, "-cp", libraries}, sources...)...); err != nil {
			t.Fatal(err)
		}
		return proc.Command{Path: java, Args: append(jvm, "-cp", classes+string(filepath.ListSeparator)+libraries, "Driver")}
	}
}

// pythonDriver runs the program in python with the packages it needs.
func pythonDriver(t *testing.T) proc.Command {
	python, requirements := tool(t, "python3"), here(t, filepath.Join("python", "requirements.txt"))
	version, err := exec.Command(python, "--version").Output() // wheels are of one version of Python
	if err != nil {
		t.Fatal(err)
	}
	folder := installed(t, "python", [][]byte{read(t, requirements), version}, func(dir string) error {
		return command(dir, python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", dir, "-r", requirements)
	})
	return proc.Command{Path: python, Args: []string{here(t, filepath.Join("python", "driver.py"))},
		Env: append(os.Environ(), "PYTHONPATH="+folder, "PYTHONDONTWRITEBYTECODE=1")}
}

// nodeDriver runs the program in node with the packages it needs.
func nodeDriver(t *testing.T) proc.Command {
	node, npm := tool(t, "node"), tool(t, "npm")
	names := []string{"package.json", "package-lock.json"}
	var pins [][]byte
	for _, name := range names {
		pins = append(pins, read(t, filepath.Join("node", name)))
	}
	folder := installed(t, "node", pins, func(dir string) error {
		for i, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), pins[i], 0o600); err != nil {
				return err
			}
		}
		return command(dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
	})
	return proc.Command{Path: node, Args: []string{here(t, filepath.Join("node", "driver.js"))},
		Env: append(os.Environ(), "NODE_PATH="+filepath.Join(folder, "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING=1")}
}
