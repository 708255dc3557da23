// Package bytemap compares the tables of a page about byte formats with the
// bytes that code writes.
//
// It owns the two forms of such tables. Under a heading "### Name (N bytes)" the rows
// are "| offset | size | field |". For structures without a fixed size they are
// "| size | field |" under a heading.
//
// It promises that every row is compared, that the rows leave no gap, and that no
// field of the code is missing from the page. It knows no format and imports none of
// varve's packages, so that all of their tests can use it.
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

// Structure is a structure of the code: an encoding of it, the size of its
// fixed part, and the value of every field. A value is bytes, or a value for
// encoding/binary. Fields that are called "zero" on the page need no value.
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
	Text      string
	rows      map[string][]row
	sizes     map[string]int
	sequences map[string][][2]string // size and field
}

type row struct {
	offset, size int
	field        string
}

var (
	headingRE  = regexp.MustCompile(`^### (.+) \((\d+) bytes\)$`)
	rowRE      = regexp.MustCompile(`^\| (\d+) \| (\d+) \| (.+) \|$`)
	sequenceRE = regexp.MustCompile(`^\| ([^|]+) \| ([^|]+) \|$`)
)

// Read reads a page. Each structure stands on it once.
func Read(t testing.TB, path string) *Page {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{Text: string(b), rows: map[string][]row{}, sizes: map[string]int{}, sequences: map[string][][2]string{}}
	var name string
	for line := range strings.Lines(p.Text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			name = strings.TrimLeft(line, "# ")
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
		if m := sequenceRE.FindStringSubmatch(line); m != nil && m[1] != "size" {
			p.sequences[name] = append(p.sequences[name], [2]string{m[1], m[2]})
		}
	}
	return p
}

// Names returns the structures of the page, in no order.
func (p *Page) Names() (names []string) {
	for name := range p.sizes {
		names = append(names, name)
	}
	return names
}

// Check compares the page with the structures of the code.
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

// Field is one field of a sequence: its name on the page, and its value.
type Field struct {
	Name  string
	Value any
}

// CheckSequence compares all tables under a heading "### Name" with the bytes
// of the code for lists of one item each. A size on the page may be a number.
// It may also be "2 + n" or "4 + n" for a length of so many bytes, which is not
// in the value, and as many bytes more. For other sizes the value has all
// bytes.
func (p *Page) CheckSequence(t testing.TB, name string, b []byte, fields ...Field) {
	t.Helper()
	rows := p.sequences[name]
	if len(rows) != len(fields) {
		t.Errorf("%s: the page has %d fields, the code %d", name, len(rows), len(fields))
		return
	}
	for i, f := range fields {
		size, value := rows[i][0], encoded(t, f.Value)
		length := binary.BigEndian.AppendUint32(nil, uint32(len(value)))
		switch n, err := strconv.Atoi(size); {
		case size == "2 + n":
			value = append(length[2:], value...)
		case size == "4 + n":
			value = append(length, value...)
		case err == nil && n != len(value):
			t.Errorf("%s: %s has %d bytes, the page says %s", name, f.Name, len(value), size)
		}
		if rows[i][1] != f.Name {
			t.Errorf("%s: field %d is %s, the page says %s", name, i, f.Name, rows[i][1])
		}
		if !bytes.HasPrefix(b, value) {
			t.Errorf("%s: %s is not %x at the front of %x", name, f.Name, value, b)
			return
		}
		b = b[len(value):]
	}
	if len(b) > 0 {
		t.Errorf("%s: the page ends before %x", name, b)
	}
}

// encoded returns the bytes of a value in an object.
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
