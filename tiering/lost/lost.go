// Package lost says which errors of reading an object mean that the object is lost.
//
// It owns the two questions below, which readers ask of each error, and nothing else. It
// promises that an error of a store that may pass is never a loss. It never reads anything,
// and never decides what a loss leads to.
package lost

import (
	"errors"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Is reports whether err means that an object, or the part of it that was asked for, is
// missing, cut short or damaged. The same request gets the same answer again, but another
// copy may be whole. The damage may have been done on the way: a caller for which a loss is
// final reads again before that. A caller for which a missing object is no loss, such as a
// gap at a journal's end, asks for objstore.ErrNotFound first.
func Is(err error) bool {
	return errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrRange) || errors.Is(err, segment.ErrCorrupt)
}

// Unreadable reports whether err means that an object is of no use to this program: it is
// lost, or of a format that only a newer program reads. The second is no damage.
func Unreadable(err error) bool { return Is(err) || errors.Is(err, segment.ErrUnsupported) }
