package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/tiering/segment"
)

func TestWALExportWritesRecordsAsConsumeDoes(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 1, 1, 2)
	f.made(t, 1, 2, 1)
	f.setAside(t, 1, "why")
	o := f.run(t, "export")
	o.expect(t, cli.ExitOK, "journal 1, log "+id(1)+": 4 records written")
	topic := walTopic.Base64()
	want := `{"topic_id":"` + topic + `","partition":3,"offset":0,"timestamp":"2024-05-01T12:00:00.000Z","key":"k0","value":"v","headers":[{"key":"h","value":"x"}]}
{"topic_id":"` + topic + `","partition":3,"offset":1,"timestamp":"2024-05-01T12:00:01.000Z","key":"/w==","key_encoding":"base64","value":null,"headers":[]}
{"topic_id":"` + topic + `","partition":3,"offset":2,"timestamp":"2024-05-01T12:00:00.000Z","key":"k2","value":"v","headers":[{"key":"h","value":"x"}]}
{"topic_id":"` + topic + `","partition":3,"offset":3,"timestamp":"2024-05-01T12:00:01.000Z","key":"/w==","key_encoding":"base64","value":null,"headers":[]}
`
	if o.stdout != want {
		t.Errorf("got\n%swant\n%s", o.stdout, want)
	}
}

func TestWALExportOfOneIncarnation(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 1, 1, 1)
	f.made(t, 2, 2, 2)
	f.setAside(t, 1, "why")
	o := f.run(t, "export", "--incarnation", id(2)) // waiting
	o.expect(t, cli.ExitOK)
	if n := strings.Count(o.stdout, "\n"); n != 4 {
		t.Errorf("%d records", n)
	}
	f.run(t, "export", "--incarnation", id(3)).expect(t, cli.ExitFailure, "no write-ahead log "+id(3), "varve wal list")
}

func TestWALExportRawIsTheBatchesOfAPartition(t *testing.T) {
	f := newWALFolder(t)
	l := f.write(t, 1, 1, 1)
	f.append(t, l, 4, 0, walBatch(0))
	f.append(t, l, 3, 2, walBatch(2))
	f.close(t, l)
	f.setAside(t, 1, "why")
	all := string(walBatch(0)) + string(walBatch(0)) + string(walBatch(2))
	if o := f.run(t, "export", "-o", "raw"); o.stdout != all || o.code != cli.ExitOK {
		t.Errorf("code %d, %d bytes, want %d", o.code, len(o.stdout), len(all))
	}
	one := string(walBatch(0)) + string(walBatch(2))
	out := filepath.Join(t.TempDir(), "out.log")
	f.run(t, "export", "-o", "raw", "--topic", walTopic.Base64()+":3", "--out", out).expect(t, cli.ExitOK, fmt.Sprintf("%d bytes written", len(one)))
	if got, err := os.ReadFile(out); string(got) != one || err != nil {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(one))
	}
	f.run(t, "export", "--out", out).expect(t, cli.ExitUsage, out, "exists")
	if o := f.run(t, "export", "--topic", segment.ID{8}.Base64()); o.stdout != "" || o.code != cli.ExitOK {
		t.Errorf("code %d, of another topic: %s", o.code, o.stdout)
	}
}

func TestWALDamageIsCountedAndTheRestWritten(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 1, 1, 6)
	f.made(t, 1, 2, 1)
	f.damage(t, f.setAside(t, 1, "CRC mismatch"), 2)
	f.setAside(t, 1, "offsets do not continue")
	rows := f.list(t, cli.ExitOK)
	if len(rows) != 2 || !is(rows[0].Batches, 2) || !is(rows[0].Records, 4) || !strings.Contains(rows[0].Damage, "CRC mismatch") || rows[1].Damage != "" {
		t.Errorf("rows %+v", rows)
	}
	o := f.run(t, "export")
	o.expect(t, cli.ExitFailure, "record batches that cannot be read: 4 or more: ", "CRC mismatch",
		"log "+id(1)+": 4 records written", "log "+id(2)+": 2 records written",
		"varve: record batches that cannot be read: 4 or more")
	if n := strings.Count(o.stdout, "\n"); n != 6 {
		t.Errorf("%d records, want 6", n)
	}
}

func TestWALBatchThatIsNoneIsReported(t *testing.T) {
	f := newWALFolder(t)
	l := f.write(t, 1, 1, 1)
	broken := walBatch(2)
	broken[61] ^= 1 // the length of its first record
	f.append(t, l, 3, 2, broken)
	f.append(t, l, 3, 4, walBatch(4))
	f.close(t, l)
	f.setAside(t, 1, "why")
	o := f.run(t, "export")
	o.expect(t, cli.ExitFailure, "at offset 2 cannot be read", "-o raw", "record batches that cannot be read: 1 or more")
	if !strings.Contains(o.stdout, `"offset":4`) {
		t.Errorf("the batch behind it is missing: %s", o.stdout)
	}
	f.run(t, "export", "-o", "raw").expect(t, cli.ExitOK)
}

func TestWALUsageErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"incarnation":    {[]string{"--incarnation", "abc"}, "32 hex digits"},
		"topic name":     {[]string{"--topic", "events"}, "varve topic describe"},
		"zero topic":     {[]string{"--topic", segment.ID{}.Base64()}, "no topic"},
		"partition":      {[]string{"--topic", walTopic.Base64() + ":x"}, "number from 0"},
		"format":         {[]string{"-o", "csv"}, "json or raw"},
		"surplus":        {[]string{"all"}, "no arguments"},
		"empty topic id": {[]string{"--topic", ":3"}, "id:partition"},
	} {
		t.Run(name, func(t *testing.T) {
			command{}.run(t, append([]string{"wal", "export"}, tc.args...)...).expect(t, cli.ExitUsage, tc.want)
		})
	}
}
