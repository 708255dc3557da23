package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/proc"
)

// schemas is Apicurio Registry, which keeps itself in a topic.
type schemas struct {
	t       *testing.T
	process *proc.Process
	url     string
}

func startRegistry(t *testing.T, j java, home, broker string) schemas {
	t.Helper()
	listen := testenv.FreeAddr(t)
	port := listen[len("127.0.0.1:"):]
	s := schemas{t: t, url: "http://" + listen + "/apis/ccompat/v7"}
	s.process = j.start(t, "registry", []string{
		"APICURIO_STORAGE_KIND=kafkasql", "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS=" + broker,
		"QUARKUS_HTTP_HOST=127.0.0.1", "QUARKUS_HTTP_PORT=" + port, "QUARKUS_MANAGEMENT_PORT=0",
		"QUARKUS_LOG_LEVEL=WARN",
	}, nil, "-jar", filepath.Join(home, "quarkus-run.jar"))
	return s
}

func schema(n int) string {
	return fmt.Sprintf(`{"type":"record","name":"Order%d","fields":[{"name":"id","type":"string"}]}`, n)
}

func (s schemas) send(method, path string, body, result any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(deadline(s.t), method, s.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := once.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %.300s %v", method, path, answer.Status, text, err)
	}
	return json.Unmarshal(text, result)
}

// register registers a schema, as often as the node needs to come back, and returns its id.
func (s schemas) register(n int) (id int) {
	s.t.Helper()
	lasting(s.t, s.process, func() error {
		var answer struct{ ID int }
		err := s.send(http.MethodPost, fmt.Sprintf("/subjects/orders-%d/versions", n), map[string]string{"schema": schema(n)}, &answer)
		id = answer.ID
		return err
	})
	return id
}

// registry registers schemas, and wants them back from a registry that has only the topic.
func registry(t *testing.T, j java) {
	j.program = javaSince(t, 21)
	home := unpacked(t, "apicurio")
	node := startNode(t)
	s := startRegistry(t, j, home, node.Kafka)
	ids := map[int]int{}
	for n := range 30 {
		ids[n] = s.register(n)
	}
	crash(t, node, func() {})
	for n := 30; n < 60; n++ {
		ids[n] = s.register(n)
	}
	if err := s.process.Kill(); err != nil {
		t.Fatal(err)
	}
	crash(t, node, func() {})
	s = startRegistry(t, j, home, node.Kafka)
	known := map[int]bool{}
	for n, id := range ids {
		if known[id] {
			t.Errorf("the id %d was given twice", id)
		}
		known[id] = true
		lasting(t, s.process, func() error {
			var answer struct{ Schema string }
			if err := s.send(http.MethodGet, fmt.Sprintf("/schemas/ids/%d", id), nil, &answer); err != nil {
				return err
			}
			if answer.Schema != schema(n) {
				return fmt.Errorf("schema %d is %s", id, answer.Schema)
			}
			return nil
		})
	}
	if id := s.register(60); known[id] {
		t.Errorf("the id %d was given again", id)
	}
}

var javaVersion = regexp.MustCompile(`version "([0-9]+)`)

// javaSince returns a Java of some version or a later one, or skips.
func javaSince(t *testing.T, version int) string {
	t.Helper()
	installed, err := filepath.Glob("/usr/lib/jvm/*/bin/java")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range append([]string{tool(t, "java")}, installed...) {
		output, err := exec.Command(program, "-version").CombinedOutput()
		if err != nil {
			continue
		}
		if m := javaVersion.FindSubmatch(output); m != nil {
			if n, err := strconv.Atoi(string(m[1])); err == nil && n >= version {
				return program
			}
		}
	}
	t.Skipf("Java %d or later is not installed", version)
	return ""
}

// unpacked returns a folder with the program of a profile, which comes as an archive.
func unpacked(t *testing.T, profile string) string {
	t.Helper()
	archives, err := filepath.Glob(jars(t, profile) + ".tar.gz")
	if err != nil || len(archives) != 1 {
		t.Fatalf("%d archives of %s: %v", len(archives), profile, err)
	}
	dir := t.TempDir()
	if output, err := exec.Command(tool(t, "tar"), "-xzf", archives[0], "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, output)
	}
	return dir
}
