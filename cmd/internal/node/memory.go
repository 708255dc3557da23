package node

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/varvelog/varve/cmd/internal/config"
)

const (
	// minSpare is the least memory on top of the budgets. It is for the program itself,
	// records that wait for their flush, and memory that is kept for further use. It is
	// also for the state of topics and producers, and for garbage.
	minSpare = 96 << 20
	// maxRatio is how much memory a node takes at most, as a multiple of its budgets:
	// the limit of the heap, and some for the program and the kernel.
	maxRatio = 1.3
	// idleEvery is the time between two looks whether the node is idle.
	idleEvery = 30 * time.Second
	// An idle node allocates less than idleAllocs between two looks, and gives free
	// memory back to the system if that is at least worthFreeing.
	idleAllocs   = 32 << 20
	worthFreeing = 32 << 20
)

// budgets is the memory that the settings give to data. That for compaction is taken while
// a pass runs.
func budgets(cfg *config.Serve) int64 {
	sum := cfg.CacheBytes + cfg.RequestMemory + cfg.TailBytes
	if cfg.HasRole(config.RoleTiering) {
		sum += cfg.CompactionMemory
	}
	return sum
}

// heapLimit returns the limit above which the garbage collector works harder, for
// budgets, and for the memory that the node may have at most (0: not known).
func heapLimit(budgets, available int64) int64 {
	limit := budgets + max(budgets/4, minSpare)
	if available > 0 {
		limit = min(limit, available/10*9) // the kernel ends a process that takes all
	}
	return limit
}

// tooSmall returns advice if the node cannot have the memory that it may take.
func tooSmall(budgets, available int64) string {
	need := max(int64(maxRatio*float64(budgets)), budgets+minSpare)
	if available <= 0 || available >= need {
		return ""
	}
	return fmt.Sprintf("the machine or the container has %s of memory, and this node takes up to %s, for which the kernel would end it: "+
		"give it more, or lower --cache-bytes, --request-memory, --tail-bytes or --compaction-memory, by %s in all",
		humanize.IBytes(uint64(available)), humanize.IBytes(uint64(need)), humanize.IBytes(uint64(float64(need-available)/maxRatio)))
}

// fitMemory has the garbage collector keep to the budgets, unless the user has given it a
// limit. GOGC stays as it is, 100 if the user has not set it: far below the limit the heap
// may be twice as large as its contents.
func (n *node) fitMemory(available int64) *heapGuard {
	sum := budgets(&n.cfg)
	if advice := tooSmall(sum, available); advice != "" {
		n.log.Warn(advice)
	}
	limit, by := heapLimit(sum, available), "the budgets"
	most := int64(math.MaxInt64)
	if available > 0 {
		most = available / 10 * 9
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		limit, by = debug.SetMemoryLimit(-1), "GOMEMLIMIT"
		most = limit
	} else {
		debug.SetMemoryLimit(limit)
	}
	percent := os.Getenv("GOGC")
	if percent == "" {
		percent = "100"
	}
	n.log.Info("memory", "heap_limit", humanize.IBytes(uint64(limit)), "set_by", by, "gogc", percent, "budgets", humanize.IBytes(uint64(sum)))
	return &heapGuard{log: n.log, least: limit, most: most, limit: limit}
}

// availableMemory returns the memory of the machine, or the least limit of the control
// groups that this process is in, if that is less. It returns 0 if neither is known. The
// root is that of the file system.
func availableMemory(root fs.FS) int64 {
	least := machineMemory(root)
	groups, _ := fs.ReadFile(root, "proc/self/cgroup") // only Linux has it
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[1] == "": // version 2
			least = min(least, leastLimit(root, "sys/fs/cgroup", parts[2], "memory.max"))
		case parts[1] == "memory":
			least = min(least, leastLimit(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	if least >= 1<<50 { // version 1 writes no limit as a number near the largest
		return 0
	}
	return least
}

// machineMemory returns the memory of the machine, the largest number if it is not known.
func machineMemory(root fs.FS) int64 {
	info, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(info)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil && kib > 0 && kib < 1<<50 {
				return kib << 10
			}
		}
	}
	return math.MaxInt64
}

// leastLimit returns the least limit of a group and those around it. Inside a container
// only the group at the mount may be visible.
func leastLimit(root fs.FS, mount, group, file string) int64 {
	least := int64(math.MaxInt64)
	for {
		if b, err := fs.ReadFile(root, path.Join(mount, group, file)); err == nil {
			if limit, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && limit > 0 {
				least = min(least, limit)
			}
		}
		if group == "/" || group == "." {
			return least
		}
		group = path.Dir(group)
	}
}

// idling gives free memory back to the system when the node has become idle.
type idling struct{ allocs uint64 }

// look is called every idleEvery.
func (i *idling) look() {
	samples := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	runtimemetrics.Read(samples)
	if i.due(samples[0].Value.Uint64(), samples[1].Value.Uint64()) {
		debug.FreeOSMemory()
	}
}

// due reports whether little was allocated since the last call, and much is free.
func (i *idling) due(allocs, free uint64) bool {
	idle := allocs-i.allocs < idleAllocs
	i.allocs = allocs
	return idle && free >= worthFreeing
}
