package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// machineTime is the time of all processors of the machine, in ticks.
type machineTime struct{ busy, all float64 }

// parseMachineTime reads the first line of the text of /proc/stat. Time that waits for a disk
// is not busy; stolen time of a virtual machine is.
func parseMachineTime(stat string) (m machineTime, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return m, errors.New("the first line of stat has no times of all processors")
	}
	const idle, waiting, last = 4, 5, 8 // guests count as user time, too
	for i := 1; i <= last; i++ {
		ticks, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return m, fmt.Errorf("time of all processors: %w", err)
		}
		m.all += ticks
		if i != idle && i != waiting {
			m.busy += ticks
		}
	}
	return m, nil
}

func readMachineTime() (machineTime, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}, err
	}
	return parseMachineTime(string(stat))
}

// halfBusy returns the records a second with which the processors of the machine are busy half
// of the time, by the node, the store and the clients. most is the most that the node takes.
func (l *lab) halfBusy(ctx context.Context, s *site, most float64) (rate float64, err error) {
	const tries = 4
	rate = most / 4
	for range tries {
		before, err := readMachineTime()
		if err != nil {
			return 0, err
		}
		if _, err := l.paced(ctx, s, rate); err != nil {
			return 0, err
		}
		after, err := readMachineTime()
		if err != nil {
			return 0, err
		}
		rate *= min(2, max(0.25, 0.5/((after.busy-before.busy)/(after.all-before.all))))
	}
	return min(rate, most), nil
}
