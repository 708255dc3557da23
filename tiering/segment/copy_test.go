package segment

import (
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
)

var copies = codec[Copy]{EncodeCopy, DecodeCopy}

func testCopy() Copy {
	return Copy{State: CopyDone, Cluster: byteID(1), Object: byteID(2), Incarnation: byteID(3), Number: 4, TimeMs: 1_700_000_000_000,
		Objects: 5, Bytes: 6, Source: "s3://events/prod"}
}

func TestMarksOfCopiesKeepTheirBytes(t *testing.T) {
	want := copies.keepsBytes(t, testCopy(), "v1-copy.hex")
	s := bytemap.Of(want, copyFixedSize, map[string]any{
		"magic": []byte(magic), "version": uint16(Version), "kind": KindCopy, "cluster id": byteID(1), "object id": byteID(2), "incarnation": byteID(3),
		"number": uint64(4), "time": int64(1_700_000_000_000), "objects": uint64(5), "bytes": uint64(6), "state": uint8(2), "source length": uint16(16),
	})
	bytemap.Read(t, "FORMAT.md").Check(t, map[string]bytemap.Structure{"Copy": s})
	copies.noticesDamage(t, want)
	copies.refuses(t, testCopy(), map[string]func(*Copy){
		"no cluster": func(c *Copy) { c.Cluster = ID{} }, "no object": func(c *Copy) { c.Object = ID{} }, "no number": func(c *Copy) { c.Number = 0 },
		"no state": func(c *Copy) { c.State = 0 }, "state 4": func(c *Copy) { c.State = 4 }, "no text": func(c *Copy) { c.Source = "\xff" },
		"long source": func(c *Copy) { c.Source = strings.Repeat("s", maxCopySource+1) }, "early": func(c *Copy) { c.TimeMs = -1 },
	})
}

func FuzzDecodeCopy(f *testing.F) { copies.fuzz(f, testCopy()) }
