// Package version names the build of this program, from the data that the Go
// toolchain stamps into it. It promises an answer, "unknown" if need be, and
// never reads anything but the running binary.
package version

import (
	"runtime/debug"
	"strings"
)

// String returns the module's version, and the commit if it is known.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		// The toolchain's own version of a commit without a tag ends in its name.
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(len(s.Value), 12)]) {
			v += " " + s.Value
		}
	}
	return v
}
