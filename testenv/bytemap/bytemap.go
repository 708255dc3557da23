// Package bytemap holds the tables of a page about byte formats against the bytes that
// code writes.
//
// It owns the form of such a table: under a heading "### Name (N bytes)" the rows
// "| offset | size | field |". It promises that every row is compared, that the rows
// leave no gap, and that no field of the code is missing from the page. It knows no
// format and imports none of varve's packages, so that all of their tests can use it.
package bytemap

import (
	"bytes"
	"encoding/binary"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Structure is what code writes: an encoding of it, the size of its fixed part, and
// the value of every field. A value is bytes, or what encoding/binary takes. Fields
// that are called "zero" on the page need no value.
type Structure struct {
	Bytes  []byte
	Size   int
	Fields map[string]any
}

// Of is a Structure.
func Of(encoding []byte, size int, fields map[string]any) Structure {
	return Structure{Bytes: encoding, Size: size, Fields: fields}
}

// Page is a page with such tables.
type Page struct {
	Text  string
	rows  map[string][]row
	sizes map[string]int
}

type row struct {
	offset, size int
	field        string
}

var (
	headingRE = regexp.MustCompile(`^### (.+) \((\d+) bytes\)$`)
	rowRE     = regexp.MustCompile(`^\| (\d+) \| (\d+) \| (.+) \|$`)
)

// Read reads a page. A structure stands on it once.
func Read(t testing.TB, path string) *Page {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{Text: string(b), rows: map[string][]row{}, sizes: map[string]int{}}
	var name string
	for line := range strings.Lines(p.Text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			name = ""
		}
		if m := headingRE.FindStringSubmatch(line); m != nil {
			name = m[1]
			if p.sizes[name] != 0 {
				t.Errorf("the page describes %q twice", name)
			}
			p.sizes[name], _ = strconv.Atoi(m[2])
		}
		if m := rowRE.FindStringSubmatch(line); m != nil && name != "" {
			offset, _ := strconv.Atoi(m[1])
			size, _ := strconv.Atoi(m[2])
			p.rows[name] = append(p.rows[name], row{offset, size, m[3]})
		}
	}
	return p
}

// Names are the structures of the page, in no order.
func (p *Page) Names() (names []string) {
	for name := range p.sizes {
		names = append(names, name)
	}
	return names
}

// Check compares the page with what the code writes.
func (p *Page) Check(t testing.TB, structures map[string]Structure) {
	t.Helper()
	for name, s := range structures {
		if p.sizes[name] != s.Size {
			t.Errorf("%s: the page says %d bytes, the code %d", name, p.sizes[name], s.Size)
		}
		if len(s.Bytes) < s.Size {
			t.Errorf("%s: the code writes %d bytes of %d", name, len(s.Bytes), s.Size)
			continue
		}
		p.check(t, name, s)
	}
}

func (p *Page) check(t testing.TB, name string, s Structure) {
	t.Helper()
	at, seen := 0, map[string]bool{}
	for _, r := range p.rows[name] {
		if r.offset != at {
			t.Errorf("%s: %s at %d, the row before ends at %d", name, r.field, r.offset, at)
		}
		at = r.offset + r.size
		if at > len(s.Bytes) {
			break
		}
		want, ok := encoded(t, s.Fields[r.field]), s.Fields[r.field] != nil
		if r.field == "zero" {
			want, ok = make([]byte, r.size), true
		}
		if got := s.Bytes[r.offset:at]; !ok || !bytes.Equal(got, want) {
			t.Errorf("%s: %s at %d is %x, want %x", name, r.field, r.offset, got, want)
		}
		seen[r.field] = true
	}
	if at != s.Size {
		t.Errorf("%s: rows end at %d of %d", name, at, s.Size)
	}
	for field := range s.Fields {
		if !seen[field] {
			t.Errorf("%s: the page does not name %s", name, field)
		}
	}
}

// encoded is a value as it stands in an object.
func encoded(t testing.TB, v any) []byte {
	t.Helper()
	if b, ok := v.([]byte); ok || v == nil {
		return b
	}
	b, err := binary.Append(nil, binary.BigEndian, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
