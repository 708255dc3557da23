// Command kcat runs the kcat of the machine for the tests of clients.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"github.com/varvelog/varve/testenv/clients/golang/driver"
)

func main() {
	runtime.LockOSThread() // kcat dies with the thread that started it
	driver.Main(driver.Operations{Produce: produce, Consume: consume, Member: member, Admin: administer})
}

// kcat is a command that dies with this process.
func kcat(spec driver.Spec, args ...string) *exec.Cmd {
	cmd := exec.Command("kcat", append([]string{"-b", spec.Bootstrap, "-X", "client.id=" + spec.Client}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	return cmd
}

var delivered = regexp.MustCompile(`(?m)^% Message delivered to partition (\d+) \(offset (\d+)\)`)

// produce sends the records of one partition after those of the other: kcat
// takes the partition as a flag, not per record.
func produce(_ context.Context, spec driver.Spec, records []driver.Record) ([]driver.Record, error) {
	numbers, lines := map[int32][]int{}, map[int32]*bytes.Buffer{}
	for i, r := range records {
		if lines[r.Partition] == nil {
			lines[r.Partition] = &bytes.Buffer{}
		}
		numbers[r.Partition] = append(numbers[r.Partition], i)
		fmt.Fprintf(lines[r.Partition], "%s\t%s\n", r.Key, r.Value)
	}
	for partition, text := range lines {
		var messages bytes.Buffer
		cmd := kcat(spec, "-P", "-vv", "-t", spec.Topic, "-p", strconv.Itoa(int(partition)), "-K", "\t", "-z", spec.Compression,
			"-X", "enable.idempotence="+strconv.FormatBool(spec.Idempotent))
		cmd.Stdin, cmd.Stderr = text, io.MultiWriter(&messages, os.Stderr)
		if err := cmd.Run(); err != nil {
			return nil, err
		}
		found := delivered.FindAllSubmatch(messages.Bytes(), -1)
		if len(found) != len(numbers[partition]) {
			return nil, fmt.Errorf("%d of %d records were delivered to partition %d", len(found), len(numbers[partition]), partition)
		}
		for i, number := range numbers[partition] {
			offset, err := strconv.ParseInt(string(found[i][2]), 10, 64)
			if err != nil {
				return nil, err
			}
			records[number].Offset = offset
		}
	}
	return records, nil
}

func consume(_ context.Context, spec driver.Spec) error {
	from := "beginning"
	if spec.Since >= 0 {
		from = fmt.Sprintf("s@%d", spec.Since)
	}
	cmd := kcat(spec, "-C", "-q", "-J", "-t", spec.Topic, "-o", from, "-c", strconv.Itoa(spec.Count))
	out, err := cmd.Output()
	return errors.Join(err, print(bytes.NewReader(out)))
}

// print translates kcat's JSON.
func print(in io.Reader) error {
	decoder := json.NewDecoder(in)
	for {
		var m struct {
			Partition int32    `json:"partition"`
			Offset    int64    `json:"offset"`
			Timestamp int64    `json:"ts"`
			Headers   []string `json:"headers"` // keys and values in turn
			Key       string   `json:"key"`
			Payload   string   `json:"payload"`
		}
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r := driver.Record{Event: "record", Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Payload,
			Timestamp: m.Timestamp, Headers: map[string]string{}}
		for pair := range slices.Chunk(m.Headers, 2) {
			r.Headers[pair[0]] = pair[1]
		}
		driver.Print(r)
	}
}

func member(ctx context.Context, spec driver.Spec) error {
	args := []string{"-G", spec.Group, "-u", "-J", "-X", "auto.offset.reset=earliest", "-X", "auto.commit.interval.ms=100",
		"-X", fmt.Sprintf("session.timeout.ms=%d", spec.Session), "-X", "heartbeat.interval.ms=500"}
	if spec.Strategy != "" {
		args = append(args, "-X", "partition.assignment.strategy="+spec.Strategy)
	}
	if spec.Instance != "" {
		args = append(args, "-X", "group.instance.id="+spec.Instance)
	}
	cmd := kcat(spec, append(args, spec.Topic)...)
	cmd.Stderr = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	messages, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	read := make(chan error, 2)
	go func() { read <- print(out) }()
	go func() { read <- watch(messages) }()
	go func() {
		<-ctx.Done()
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}()
	err = errors.Join(<-read, <-read) // until its output ends
	return errors.Join(err, cmd.Wait())
}

var (
	rebalanced = regexp.MustCompile(`^% Group .* rebalanced .*: (assigned|revoked): (.*)`)
	partition  = regexp.MustCompile(`\[(\d+)\]`)
)

// watch translates kcat's output about rebalances.
func watch(in io.Reader) error {
	lines := bufio.NewScanner(in)
	has := map[int32]bool{}
	for lines.Scan() {
		fmt.Fprintln(os.Stderr, lines.Text())
		m := rebalanced.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		for _, each := range partition.FindAllStringSubmatch(m[2], -1) {
			number, err := strconv.ParseInt(each[1], 10, 32)
			if err != nil {
				return err
			}
			if delete(has, int32(number)); m[1] == "assigned" {
				has[int32(number)] = true
			}
		}
		driver.Print(driver.Assignment{Event: m[1], Partitions: slices.Sorted(maps.Keys(has))})
	}
	return lines.Err()
}

var queried = regexp.MustCompile(`\[\d+\] offset (-?\d+)`)

func administer(_ context.Context, spec driver.Spec) (func(driver.Op) (driver.Result, error), error) {
	return func(op driver.Op) (r driver.Result, err error) {
		if op.Op != "list-offsets" {
			return driver.Result{Unsupported: true}, nil
		}
		at, ok := map[string]string{"earliest": "-2", "latest": "-1"}[op.At]
		if !ok {
			at = op.At
		}
		out, err := kcat(spec, "-Q", "-t", fmt.Sprintf("%s:%d:%s", op.Topic, op.Partition, at)).Output()
		if err != nil {
			return r, err
		}
		m := queried.FindSubmatch(out)
		if m == nil {
			return r, fmt.Errorf("kcat printed %q", out)
		}
		r.Offset, err = strconv.ParseInt(string(m[1]), 10, 64)
		return r, err
	}, nil
}
