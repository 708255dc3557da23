package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/proc"
)

const (
	kcatBatch   = 100              // records of one run
	kcatTimeout = 60 * time.Second // librdkafka's, of a record
)

// findKcat returns the path of kcat, the command-line client of librdkafka, or
// "" if it is not installed.
func findKcat() string {
	path, err := exec.LookPath("kcat")
	if err != nil {
		return ""
	}
	return path
}

// kcatProduce writes with one kcat after the other until ctx ends. A run that
// ends well has had all its records acknowledged; it does not report their
// offsets.
func kcatProduce(ctx, hard context.Context, h *history.History, kcat, address string) error {
	for run := int32(0); ctx.Err() == nil; run++ {
		p := h.NewProducer(history.Promise{Name: "kcat", Acks: -1, Idempotent: true, InOrder: true})
		partition := run % partitions
		var values []history.Value
		var lines bytes.Buffer
		for range kcatBatch {
			v := p.Send(partition)
			values = append(values, v)
			fmt.Fprintf(&lines, "%s:%s\n", v.Key(), v.Text(size(v)))
		}
		well, err := runKcat(hard, kcat, &lines, nil, "-P", "-b", address, "-t", topic, "-p", fmt.Sprint(partition), "-K", ":",
			"-X", "enable.idempotence=true", "-X", "acks=all", "-X", fmt.Sprintf("message.timeout.ms=%d", kcatTimeout.Milliseconds()))
		if err != nil {
			return err
		}
		for _, v := range values {
			if well {
				p.Acked(v, -1)
			} else {
				p.Unknown(v)
			}
		}
		sleep(ctx, 500*time.Millisecond)
	}
	return nil
}

// kcatReadAll reads all records from the beginning to the present end.
func kcatReadAll(ctx context.Context, h *history.History, name, kcat, address string) error {
	c := h.NewConsumer(name)
	for partition := range int32(partitions) {
		c.Seek(partition, 0)
	}
	in, out := io.Pipe()
	parsed := make(chan error, 1)
	go func() {
		err := parseKcat(in, c)
		parsed <- err
		_ = in.CloseWithError(err) // kcat's output is of no use any more
	}()
	well, err := runKcat(ctx, kcat, nil, out, "-C", "-q", "-e", "-b", address, "-t", topic, "-o", "beginning", "-f", `%p %o %k %s\n`)
	_ = out.Close() // never fails
	if parseErr := <-parsed; parseErr != nil {
		h.Note(history.Corrupt, "%s: %v", name, parseErr)
		return nil
	}
	if err != nil {
		return err
	}
	if !well {
		h.Note(history.Stuck, "%s does not get to the end", name)
		return nil
	}
	for partition := range int32(partitions) {
		c.Complete(partition, c.Next(partition))
	}
	return nil
}

func parseKcat(in io.Reader, c *history.Consumer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), " ")
		if len(fields) != 4 {
			return fmt.Errorf("kcat printed %.200q", lines.Text())
		}
		partition, err := strconv.ParseInt(fields[0], 10, 32)
		if err != nil {
			return fmt.Errorf("kcat printed %.200q", lines.Text())
		}
		offset, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return fmt.Errorf("kcat printed %.200q", lines.Text())
		}
		c.Read(int32(partition), offset, []byte(fields[2]), []byte(fields[3]))
	}
	return lines.Err()
}

// runKcat runs kcat to its end and reports whether it has done all its work.
// When ctx ends it is killed.
func runKcat(ctx context.Context, kcat string, stdin io.Reader, stdout io.Writer, args ...string) (well bool, err error) {
	process, err := proc.Start(proc.Command{Path: kcat, Args: args, Stdin: stdin, Stdout: stdout})
	if err != nil {
		return false, err
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		return false, process.Kill()
	}
	failed := stdout == nil && strings.Contains(process.Output(), "Delivery failed")
	return process.Wait() == nil && !failed, nil
}
