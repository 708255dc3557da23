package nodes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
)

// socketAt returns the name that the open files of a process have for the socket whose own end
// is at an address, of IP version 4; "" if there is none. All processes are in one network.
//
// The table has a line for each socket of the machine, those of closed connections too. So it
// is read once for all processes, and by one caller at a time.
func socketAt(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return ""
	}
	reading.Lock()
	defer reading.Unlock()
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		return ""
	}
	// The kernel writes the address as a number in the byte order of the machine. A line has its
	// number, a colon, the own end, the other end.
	end := fmt.Appendf(nil, ": %08X:%04X ", binary.NativeEndian.Uint32(tcp.IP.To4()), tcp.Port)
	_, rest, found := bytes.Cut(table, end)
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	const inode = 7 // of the fields after the own end
	if fields := bytes.Fields(line); found && len(fields) > inode {
		return "socket:[" + string(fields[inode]) + "]"
	}
	return ""
}

var reading sync.Mutex

// hasFile reports whether a process has a file open.
func hasFile(pid int, name string) bool {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, file := range files {
		if target, err := os.Readlink(folder + "/" + file.Name()); err == nil && target == name {
			return true
		}
	}
	return false
}
