// Package senders has producers of several families of clients, which all send in
// the same way: Kafka's own in Java, librdkafka, and franz-go.
//
// It owns the processes of those that are not written in Go, and promises that each
// record has one outcome: an offset, or an error of the client. All of them are
// idempotent, with acks=all and otherwise with the defaults of their library, as
// applications have them.
//
// It installs libraries by the package managers that the user has, into varve's
// cache. A family whose tools are missing is reported by maven.ErrMissing.
package senders

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/varvelog/varve/testenv/cache"
	"github.com/varvelog/varve/testenv/maven"
	"github.com/varvelog/varve/testenv/proc"
)

// Outcome is the end of a record: its offset, or an error. Calls come from one goroutine.
type Outcome func(id uint64, offset int64, err error)

// Sender is one producer. Its methods may not be called concurrently.
type Sender interface {
	// Send sends a record. Key and value must have no spaces and no line ends.
	Send(id uint64, partition int32, key, value []byte) error
	// Close waits until all records have their outcomes, and ends the producer.
	Close() error
	// Kill ends the producer at once. Records without outcome never get one.
	Kill()
}

// Family is a kind of producers.
type Family struct {
	Name string
	// Start starts one at brokers, for a topic.
	Start func(brokers []string, topic string, outcome Outcome) (Sender, error)
}

// Find returns the families that this machine has, and installs their libraries. It
// reports others to progress.
func Find(ctx context.Context, dir string, progress io.Writer) (found []Family, err error) {
	found = append(found, Family{Name: "franz-go", Start: startFranz})
	for _, other := range []struct {
		name    string
		prepare func(ctx context.Context, dir string, progress io.Writer) (proc.Command, error)
	}{{"java", javaProgram}, {"librdkafka", pythonProgram}} {
		command, err := other.prepare(ctx, dir, progress)
		if errors.Is(err, maven.ErrMissing) {
			fmt.Fprintf(progress, "without %s: %v\n", other.name, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("install %s: %w", other.name, err)
		}
		found = append(found, Family{Name: other.name, Start: func(brokers []string, topic string, outcome Outcome) (Sender, error) {
			return startProcess(command, brokers, topic, outcome)
		}})
	}
	return found, nil
}

//go:embed Send.java
var javaSource []byte

//go:embed pom.xml
var javaPins []byte

//go:embed send.py
var pythonSource []byte

//go:embed requirements.txt
var pythonPins []byte

// javaProgram runs the program in Java from its source.
func javaProgram(ctx context.Context, dir string, progress io.Writer) (proc.Command, error) {
	java, err := maven.Look("java")
	if err != nil {
		return proc.Command{}, err
	}
	libraries, err := maven.Jars(ctx, "senders-java", javaPins, "", progress)
	if err != nil {
		return proc.Command{}, err
	}
	source := filepath.Join(dir, "Send.java")
	return proc.Command{Path: java, Args: []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", libraries, source}},
		os.WriteFile(source, javaSource, 0o600)
}

// pythonProgram runs the program in Python, whose library is librdkafka's.
func pythonProgram(ctx context.Context, dir string, progress io.Writer) (proc.Command, error) {
	python, err := maven.Look("python3")
	if err != nil {
		return proc.Command{}, err
	}
	version, err := exec.CommandContext(ctx, python, "--version").Output() // wheels are of one version of Python
	if err != nil {
		return proc.Command{}, err
	}
	path, err := cache.Path("clients-python", pythonPins, version)
	if err != nil {
		return proc.Command{}, err
	}
	err = cache.Folder(path, progress, func(into string) error {
		pins := filepath.Join(into, "requirements.txt")
		if err := os.WriteFile(pins, pythonPins, 0o600); err != nil {
			return err
		}
		output, err := exec.CommandContext(ctx, python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", into, "-r", pins).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %w\n%s", maven.ErrMissing, err, output)
		}
		return nil
	})
	if err != nil {
		return proc.Command{}, err
	}
	source := filepath.Join(dir, "send.py")
	return proc.Command{Path: python, Args: []string{source}, Env: append(os.Environ(), "PYTHONPATH="+path, "PYTHONDONTWRITEBYTECODE=1")},
		os.WriteFile(source, pythonSource, 0o600)
}

// process is a sender that is a process. It reads a record a line: id, partition, key, value.
// It writes an outcome a line: id, offset and, if that is below zero, the error.
type process struct {
	in      *os.File
	process *proc.Process
	read    sync.WaitGroup
	bad     error // of the lines read
}

func startProcess(command proc.Command, brokers []string, topic string, outcome Outcome) (Sender, error) {
	// A pipe of the system, which the process reads itself: no goroutine waits for input here.
	in, feed, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	lines, out := io.Pipe()
	command.Args = append(command.Args[:len(command.Args):len(command.Args)], strings.Join(brokers, ","), topic)
	command.Stdin, command.Stdout = in, out
	started, err := proc.Start(command)
	err = errors.Join(err, in.Close())
	if err != nil {
		return nil, errors.Join(err, feed.Close())
	}
	p := &process{in: feed, process: started}
	p.read.Go(func() {
		p.bad = readOutcomes(lines, outcome)
		_ = lines.CloseWithError(p.bad)
	})
	p.read.Go(func() {
		<-started.Done()
		_ = out.Close() // never fails
	})
	return p, nil
}

func readOutcomes(from io.Reader, outcome Outcome) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		id, rest, _ := strings.Cut(lines.Text(), " ")
		text, problem, _ := strings.Cut(rest, " ")
		number, err := strconv.ParseUint(id, 10, 64)
		offset, offsetErr := strconv.ParseInt(text, 10, 64)
		if err := errors.Join(err, offsetErr); err != nil {
			return fmt.Errorf("a sender printed %.200q: %w", lines.Text(), err)
		}
		if offset < 0 {
			outcome(number, -1, errors.New(problem))
			continue
		}
		outcome(number, offset, nil)
	}
	return lines.Err()
}

func (p *process) Send(id uint64, partition int32, key, value []byte) error {
	_, err := fmt.Fprintf(p.in, "%d %d %s %s\n", id, partition, key, value)
	return err
}

func (p *process) Close() error {
	_ = p.in.Close() // the end of its input: it flushes and ends
	err := p.process.Wait()
	p.read.Wait()
	if err = errors.Join(err, p.bad); err != nil {
		return fmt.Errorf("%w: %s", err, p.process.Output())
	}
	return nil
}

func (p *process) Kill() {
	_ = p.process.Kill() // it is a child of ours
	p.read.Wait()
	_ = p.in.Close()
}
