package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/maven"
	"github.com/varvelog/varve/testenv/proc"
)

// kafkaVersion is the release that kafka.xml pins.
const kafkaVersion = "4.4.0"

//go:embed kafka.xml
var kafkaPom []byte

// java is a Java virtual machine with Kafka's jars.
type java struct {
	program string
	jars    string
}

func findJava(ctx context.Context, progress io.Writer) (java, error) {
	program, err := maven.Look("java")
	if err != nil {
		return java{}, err
	}
	jars, err := maven.Jars(ctx, "bench-kafka", kafkaPom, "", progress)
	return java{program: program, jars: jars}, err
}

// start starts a class. It logs warnings and errors only.
func (j java) start(c proc.Command, class string, flags, args []string) (*proc.Process, error) {
	c.Path = j.program
	c.Args = append(append(flags, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", j.jars, class), args...)
	return proc.Start(c)
}

// brokerFlags are those with which Kafka's own scripts start a broker.
var brokerFlags = []string{"-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
	"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"}

// kafkaSystem is Apache Kafka: one node, broker and controller, that goes on
// running between the cases.
type kafkaSystem struct {
	java
	label string
	fsync bool // after each batch, before it is acknowledged
	node  *kafkaNode
}

func (s *kafkaSystem) name() string { return s.label }

// open starts the node that most cases use, and warms it up: the virtual
// machine compiles the code of a path when it has been used for a while.
func (s *kafkaSystem) open(ctx context.Context, dir string) (err error) {
	s.node, err = s.newNode(ctx, filepath.Join(dir, strings.ReplaceAll(s.label, " ", "-")))
	return err
}

func (s *kafkaSystem) close() error {
	if s.node == nil {
		return nil
	}
	return s.node.process.Kill()
}

func (s *kafkaSystem) start(ctx context.Context, b bench, p place) (*target, error) {
	if s.fsync && !b.Kind.waits() {
		return nil, errCannot // it would be as the other, or take an hour
	}
	if b.Kind == startKind {
		began := time.Now()
		n, err := s.newNode(ctx, filepath.Join(p.dir, "kafka"))
		if err != nil {
			return nil, err
		}
		return &target{broker: n.broker, ready: time.Since(began), output: n.process.Output, end: func() { _ = n.process.Kill() }}, nil
	}
	resetPeak(s.node.pid)
	return &target{broker: s.node.broker, end: func() {}, output: s.node.process.Output,
		// Kafka keeps no records in its own memory.
		forget: func(context.Context) error { return dropPages(s.node.logs()) }}, nil
}

// kafkaNode is a process.
type kafkaNode struct {
	broker
	java
	process *proc.Process
	dir     string
}

func (s *kafkaSystem) newNode(ctx context.Context, dir string) (*kafkaNode, error) {
	n := &kafkaNode{java: s.java, dir: dir}
	var err error
	if n.kafka, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	controller, err := proc.FreeAddr()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.config(), []byte(s.properties(n.kafka, controller, n.logs())), 0o600); err != nil {
		return nil, err
	}
	format, err := n.java.start(proc.Command{}, "kafka.tools.StorageTool", []string{"-Xmx256m"},
		[]string{"format", "-t", "bench-bench-bench-AAAA", "-c", n.config()})
	if err != nil {
		return nil, err
	}
	if err := format.Wait(); err != nil {
		return nil, fmt.Errorf("format the storage of Kafka: %w\n%s", err, format.Output())
	}
	return n, n.run(ctx)
}

func (n *kafkaNode) config() string { return filepath.Join(n.dir, "server.properties") }
func (n *kafkaNode) logs() string   { return filepath.Join(n.dir, "logs") }

// properties is the configuration. All that it does not name has its default.
// Deleted topics leave the disk at once: the next case needs its space.
func (s *kafkaSystem) properties(kafka, controller, logs string) string {
	text := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=%[3]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
log.segment.delete.delay.ms=1000
`, kafka, controller, logs)
	if s.fsync {
		text += "log.flush.interval.messages=1\n"
	}
	return text
}

// run starts the process and returns when it serves clients.
func (n *kafkaNode) run(ctx context.Context) (err error) {
	if n.process, err = n.java.start(proc.Command{Dir: n.dir}, "kafka.Kafka", brokerFlags, []string{n.config()}); err != nil {
		return err
	}
	n.pid = n.process.Pid()
	if err := n.awaitServing(ctx); err != nil {
		return errors.Join(fmt.Errorf("start Kafka: %w\n%s", err, n.process.Output()), n.process.Kill())
	}
	return nil
}

func (n *kafkaNode) awaitServing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.kafka))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		attempt, stop := context.WithTimeout(ctx, time.Second)
		last := client.Ping(attempt)
		stop()
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", readyTimeout, cmp.Or(last, ctx.Err()))
		case <-n.process.Done():
			return fmt.Errorf("ended: %w", n.process.Wait())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
