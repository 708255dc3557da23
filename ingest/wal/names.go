package wal

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/varvelog/varve/tiering/segment"
)

// Names under the journal's folder:
//
//	<ordinal, 10 digits>-<incarnation>/        one log; a higher ordinal is later
//	    <number, 12 digits>.wal                records
//	    <any>.spare                            no records: preallocated, or released and to be reused
//	    reason                                 why the log is being set aside
//	<ordinal>-<incarnation>.dead/              removed; contents are being deleted
//	aside/<UTC time>-<incarnation>/            set aside; with them, as text:
//	    missing                                how many of its records the journal does not have
//	    exported                               when it was exported
//	aside/<...>.dead/                          deleted; contents are being deleted
const (
	walSuffix   = ".wal"
	spareSuffix = ".spare"
	deadSuffix  = ".dead"
	asideDir    = "aside"
	reasonFile  = "reason"
	missingFile = "missing"
	exportFile  = "exported"
	timeLayout  = "20060102T150405Z"
)

func incarnationName(ordinal uint64, id segment.ID) string {
	return fmt.Sprintf("%010d-%s", ordinal, id)
}

// parseIncarnationName reports false for any other name.
func parseIncarnationName(name string) (ordinal uint64, id segment.ID, ok bool) {
	num, rest, found := strings.Cut(name, "-")
	if !found || len(num) != 10 {
		return 0, id, false
	}
	ordinal, err := strconv.ParseUint(num, 10, 64)
	if err != nil || ordinal == 0 {
		return 0, id, false
	}
	id, ok = parseID(rest)
	return ordinal, id, ok
}

func parseID(s string) (id segment.ID, ok bool) {
	if len(s) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil && id.String() == s
}

func walName(number uint64) string { return fmt.Sprintf("%012d%s", number, walSuffix) }

func parseWALName(name string) (number uint64, ok bool) {
	num, found := strings.CutSuffix(name, walSuffix)
	if !found {
		return 0, false
	}
	number, err := strconv.ParseUint(num, 10, 64)
	return number, err == nil && number > 0 && walName(number) == name
}
