package node

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/varvelog/varve/cmd/internal/config"
)

// settingsOf loads settings from an environment, or from a file.
func settingsOf(t *testing.T, environ []string, file string) config.Serve {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(flags)
	resolved, err := config.Load(flags, environ, file)
	if err != nil {
		t.Fatal(err)
	}
	return resolved.Serve
}

func readDeployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// service is a service of a compose file, as far as nodes use it.
type service struct {
	Image       string
	StopGrace   string `yaml:"stop_grace_period"`
	Environment map[string]string
	Ports       []string
	Volumes     []string
}

// Each node of the compose file must be reached by clients of the host at the address that it
// advertises, and by the other nodes at its name.
func TestTheNodesOfTheComposeFileReachEachOther(t *testing.T) {
	var file struct {
		Services map[string]service
		Volumes  map[string]any
	}
	if err := yaml.Unmarshal([]byte(readDeployed(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	published, volumes := map[string]string{}, map[string]bool{}
	for name, s := range file.Services {
		if s.Image != "varve" {
			continue
		}
		var environ []string
		for key, value := range s.Environment {
			if !strings.Contains(value, "${") {
				environ = append(environ, key+"="+value)
			}
		}
		settings := settingsOf(t, append(environ, "VARVE_BUCKET=s3://my-events/varve?region=r"), "")
		clients, peers := settings.Listeners[0], settings.Listeners[1]
		if !strings.EqualFold(settings.InterBroker, "peers") || peers.Advertise != name+":9192" || !strings.HasSuffix(peers.Address, ":9192") {
			t.Errorf("%s: others reach it at %+v, by %q", name, peers, settings.InterBroker)
		}
		nats, err := url.Parse(s.Environment["VARVE_NATS"])
		if _, ok := file.Services[nats.Hostname()]; err != nil || !ok {
			t.Errorf("%s: no service is NATS at %v, %v", name, nats, err)
		}
		if want := clients.Advertise + ":9092"; len(s.Ports) != 2 || s.Ports[0] != want || !strings.HasSuffix(clients.Address, ":9092") || !strings.HasSuffix(s.Ports[1], ":9080") {
			t.Errorf("%s publishes %q, and clients are sent to %s", name, s.Ports, clients.Advertise)
		}
		for _, port := range s.Ports {
			host := port[:strings.LastIndex(port, ":")]
			if other := published[host]; other != "" || !strings.HasPrefix(host, "127.0.0.1:") {
				t.Errorf("%s is published by %s and %s", host, other, name)
			}
			published[host] = name
		}
		volume, folder, _ := strings.Cut(s.Volumes[0], ":")
		if _, declared := file.Volumes[volume]; volumes[volume] || folder != "/data" || !declared || s.StopGrace != "90s" {
			t.Errorf("%s: volumes %q, stops within %q", name, s.Volumes, s.StopGrace)
		}
		volumes[volume] = true
	}
	if len(volumes) != 3 {
		t.Errorf("%d nodes", len(volumes))
	}
}

func TestTheExampleOfOneOfSeveralNodesIsValid(t *testing.T) {
	text := readDeployed(t, "cluster.yaml")
	settings := settingsOf(t, nil, filepath.Join(deploy, "cluster.yaml"))
	if len(settings.Listeners) != 2 || len(settings.NATS.Routes) != 3 || settings.Journals != 6 {
		t.Errorf("got %+v", settings)
	}
	whole := filepath.Join(t.TempDir(), "cluster.yaml")
	all := regexp.MustCompile(`(?m)^#([a-z-]+: )`).ReplaceAllString(text, "$1")
	if all == text {
		t.Fatal("nothing is commented out")
	}
	if err := os.WriteFile(whole, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	settingsOf(t, nil, whole)
}

// The unit of one of several nodes differs from that of a single one by names and the time to
// stop, not by the rights of the process.
func TestTheUnitsGiveNodesTheSameRights(t *testing.T) {
	rights := func(name string) (lines []string) {
		for line := range strings.Lines(readDeployed(t, name)) {
			if strings.ContainsAny(line, "=[") && !strings.HasPrefix(line, "#") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	one, several := rights("varve.service"), rights("varve@.service")
	for i, line := range one {
		want := strings.NewReplacer("/etc/varve/varve.yaml", "/etc/varve/%i.yaml", "%S/varve", "%S/varve-%i", "StateDirectory=varve", "StateDirectory=varve-%i",
			"TimeoutStopSec=60s", "TimeoutStopSec=90s", "in a bucket", "in a bucket, node %i").Replace(line)
		if i >= len(several) || several[i] != want {
			t.Errorf("varve.service has %q, varve@.service has not %q", line, want)
		}
	}
	if len(one) != len(several) || !slices.Contains(one, "NoNewPrivileges=yes") {
		t.Errorf("%d and %d lines", len(one), len(several))
	}
}
