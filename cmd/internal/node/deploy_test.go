package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/tiering/objstore"
)

var deploy = filepath.Join("..", "..", "varve", "deploy")

// registered are the names of all metrics a node can have, also of those that
// have no value yet.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	m := newMetrics()
	m.journal(1, nil)
	m.leader(1, nil)
	m.bus(nil)
	m.health(nil)
	m.members(nil)
	m.groups(nil, nil)
	m.replays(nil)
	m.damage(nil, nil)
	m.verification(1, nil)
	m.tiering(1, nil, nil)
	m.compaction(1, nil)
	m.sweep(1, nil, nil, nil, nil)
	m.clock(nil)
	m.retention(1, nil, nil)
	m.policy(objstore.Policy{})
	m.fetchSessions(nil)
	m.requestMemory(func() []listener.PartUse { return []listener.PartUse{{Part: "small_frames"}} })
	descriptions := make(chan *prometheus.Desc)
	go func() {
		m.registry.Describe(descriptions)
		close(descriptions)
	}()
	names := map[string]bool{}
	for d := range descriptions {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		names[name] = true
	}
	if !names["varve_journal_head"] || !names["go_goroutines"] {
		t.Fatalf("got %v", names)
	}
	return names
}

var metricName = regexp.MustCompile(`\b(varve|process|go)_[a-z0-9_]+`)

// known reports whether a name in a query is that of a metric, or of a histogram's
// parts.
func known(names map[string]bool, name string) bool {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && names[base] {
			return true
		}
	}
	return names[name]
}

func TestTheDashboardShowsMetricsThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Query any }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	names, queries := registered(t), 0
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			queries++
			found := metricName.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("panel %q: no metric in %s", p.Title, target.Expr)
			}
			for _, name := range found {
				if !known(names, name) {
					t.Errorf("panel %q: no metric is called %s", p.Title, name)
				}
			}
		}
	}
	for _, v := range dashboard.Templating.List {
		text, err := json.Marshal(v.Query)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricName.FindAllString(string(text), -1) {
			if !known(names, name) {
				t.Errorf("variable: no metric is called %s", name)
			}
		}
	}
	if queries < 20 {
		t.Errorf("only %d queries found", queries)
	}
}

// Every metric that the README lists for alerts must exist.
func TestTheREADMENamesMetricsThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := registered(t)
	found := regexp.MustCompile(`\bvarve_[a-z0-9_]+`).FindAllString(string(text), -1)
	if len(found) == 0 {
		t.Fatal("the README names no metric")
	}
	for _, name := range found {
		if !known(names, name) {
			t.Errorf("no metric is called %s; if it is new, have it registered above", name)
		}
	}
}

// A counter that appears with its first failure has not risen, as Prometheus sees it.
func TestWhatAlertsLookForBeginsAtZero(t *testing.T) {
	families, err := newMetrics().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				got[f.GetName()+" "+l.GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	for _, name := range []string{
		"varve_kafka_connections_refused_total holds_memory", "varve_kafka_connections_refused_total takes_slowly",
		"varve_kafka_connections_refused_total other", "varve_store_requests_total error",
	} {
		if value, ok := got[name]; !ok || value != 0 {
			t.Errorf("%s: %v, there: %t", name, value, ok)
		}
	}
}

func TestTheExampleConfigurationIsValid(t *testing.T) {
	name := filepath.Join(deploy, "varve.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(flags)
	if _, err := config.Load(flags, nil, name); err != nil {
		t.Error(err)
	}
	// With the lines that are commented out, too.
	whole := filepath.Join(t.TempDir(), "varve.yaml")
	all := regexp.MustCompile(`(?m)^#([a-z-]+: )`).ReplaceAllString(string(text), "$1")
	if all == string(text) {
		t.Fatal("nothing is commented out")
	}
	if err := os.WriteFile(whole, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(flags, nil, whole); err != nil {
		t.Error(err)
	}
}

// The port that the container's example publishes must be reachable: a
// container's loopback address is not.
func TestTheContainersExampleServesWhatItPublishes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "Containerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	for _, m := range regexp.MustCompile(`-e (VARVE_\w+=[^\s\\.]\S*)`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(m[1], "...") {
			environ = append(environ, m[1])
		}
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(flags)
	resolved, err := config.Load(flags, environ, "")
	if err != nil {
		t.Fatal(err)
	}
	served := []string{resolved.Serve.Listeners[0].Address, resolved.Serve.HTTP}
	published := regexp.MustCompile(`-p 127\.0\.0\.1:(\d+):(\d+)`).FindAllStringSubmatch(string(text), -1)
	if len(published) != len(served) {
		t.Fatalf("published are %q, served are %q", published, served)
	}
	for i, p := range published {
		if served[i] != "0.0.0.0:"+p[2] {
			t.Errorf("port %s of the container is published, but it serves %s", p[2], served[i])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^EXPOSE (.*)$`).FindAllStringSubmatch(string(text), -1) {
		if m[1] != published[0][2]+" "+published[1][2] {
			t.Errorf("exposed are %s", m[1])
		}
	}
}
