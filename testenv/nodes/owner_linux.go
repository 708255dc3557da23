package nodes

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
)

// ownsSocket reports whether a process has the socket whose own end is at an address, of IP
// version 4.
func ownsSocket(pid int, address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return false
	}
	// The kernel writes the address as a number in the byte order of the machine.
	end := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(tcp.IP.To4()), tcp.Port)
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) {
		const local, inode = 1, 9
		if fields := strings.Fields(line); len(fields) > inode && fields[local] == end {
			return hasFile(pid, "socket:["+fields[inode]+"]")
		}
	}
	return false
}

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
