package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv/proc"
)

// trivialCommand is the argument that makes this program a broker that does
// next to nothing. The load generator's throughput with it is the limit of the
// generator, the machine and the protocol, whatever the broker.
const trivialCommand = "trivial-broker"

// serveTrivial runs the broker until standard input ends. It prints its address
// to standard output. With keep it keeps records in memory and returns them;
// without, it acknowledges them and drops them.
func serveTrivial(in io.Reader, out io.Writer, keep bool) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
	if err != nil {
		return err
	}
	defer cluster.Close()
	if !keep {
		cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			return acknowledge(request.(*kmsg.ProduceRequest)), nil, true
		})
	}
	fmt.Fprintln(out, strings.Join(cluster.ListenAddrs(), ","))
	_, err = io.Copy(io.Discard, in)
	return err
}

func acknowledge(request *kmsg.ProduceRequest) kmsg.Response {
	response := request.ResponseKind().(*kmsg.ProduceResponse)
	for _, in := range request.Topics {
		out := kmsg.NewProduceResponseTopic()
		out.Topic, out.TopicID = in.Topic, in.TopicID
		for _, p := range in.Partitions {
			slot := kmsg.NewProduceResponseTopicPartition()
			slot.Partition = p.Partition
			out.Partitions = append(out.Partitions, slot)
		}
		response.Topics = append(response.Topics, out)
	}
	return response
}

// trivial is the broker as a process.
type trivial struct {
	broker
	process *proc.Process
	stdin   io.Closer
}

func startTrivial(ctx context.Context, keep bool) (*trivial, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{trivialCommand}
	if keep {
		args = append(args, "keep")
	}
	read, stdin := io.Pipe()
	stdout, write := io.Pipe()
	process, err := proc.Start(proc.Command{Path: self, Args: args, Stdin: read, Stdout: write, Stderr: os.Stderr, Direct: true})
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), write.Close())
	}
	t := &trivial{process: process, stdin: stdin}
	t.pid = process.Pid()
	address := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		address <- strings.TrimSpace(line)
	}()
	select {
	case t.kafka = <-address:
		return t, nil
	case <-process.Done():
		err = process.Wait()
	case <-ctx.Done():
		err = ctx.Err()
	}
	err = errors.Join(fmt.Errorf("start the trivial broker: %w", err), t.stop())
	write.Close() // ends the reading
	return nil, err
}

func (t *trivial) stop() error {
	// In this order: the process is not reaped before its standard input ends.
	return errors.Join(t.stdin.Close(), t.process.Kill())
}
