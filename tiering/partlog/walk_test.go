package partlog

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// walkable has 600 extents of one record each. The first are in pages of up to 256.
func walkable(t *testing.T) (*leader, ReadPage) {
	t.Helper()
	l := long(t, 600)
	l.plan(256)
	l.paged()
	return l, func(_ context.Context, p *Page) (*PageExtents, error) {
		return DecodePage(p, l.objects[p.Object][p.Position:][:p.Length])
	}
}

func TestFindFromBeginsAtTheStart(t *testing.T) {
	l, _ := walkable(t)
	mustApply(t, l.State, data(1000, 1), DeleteRecords{keyA, 590}.Encode())
	if extents, page, view, ok := l.FindFrom(keyA, 100, 3); !ok || page != nil || len(extents) != 3 || extents[0].Base != 590 || view.Start != 590 {
		t.Errorf("extents %+v, page %+v, view %+v, %t", extents, page, view, ok)
	}
	if extents, page, view, ok := l.FindFrom(keyA, 600, 3); !ok || page != nil || extents != nil || view.End != 600 {
		t.Errorf("at the end: extents %+v, page %+v, view %+v, %t", extents, page, view, ok)
	}
	if _, _, _, ok := l.FindFrom(Key{testTopic, 99}, 0, 3); ok {
		t.Error("found a partition that was never opened")
	}
}

// TestAWalkGoesOnBehindAStartThatMoves moves the start while the first page, and while an
// extent in memory is looked at: the extents from the start on are not passed over.
func TestAWalkGoesOnBehindAStartThatMoves(t *testing.T) {
	l, read := walkable(t)
	var bases []int64
	seq := uint64(1000)
	for e, err := range l.Walk(t.Context(), keyA, 0, read) {
		if err != nil {
			t.Fatal(err)
		}
		bases = append(bases, e.Base)
		for at, start := range map[int64]int64{255: 300, 511: 550} {
			if e.Base == at {
				mustApply(t, l.State, data(seq, 1), DeleteRecords{keyA, start}.Encode())
				seq++
			}
		}
	}
	var want []int64
	for i := range int64(600) {
		if i <= 255 || i >= 300 && i <= 511 || i >= 550 {
			want = append(want, i)
		}
	}
	if !slices.Equal(bases, want) {
		t.Errorf("extents at %v", bases)
	}
}

func TestAWalkNamesAPageThatIsLostAndGoesOn(t *testing.T) {
	l, read := walkable(t)
	lost := errors.New("gone")
	var bases []int64
	var pages []*Page
	for e, err := range l.Walk(t.Context(), keyA, 10, func(ctx context.Context, p *Page) (*PageExtents, error) {
		if p.Base == 0 {
			return nil, lost
		}
		return read(ctx, p)
	}) {
		if err == nil {
			bases = append(bases, e.Base)
			continue
		}
		var of *PageError
		if !errors.As(err, &of) || !errors.Is(err, lost) {
			t.Fatal(err)
		}
		pages = append(pages, of.Page)
	}
	if len(pages) != 1 || pages[0].Base != 0 || pages[0].Last != 255 || len(bases) != 600-256 || bases[0] != 256 {
		t.Errorf("pages %+v, %d extents", pages, len(bases))
	}
	var inMemory int
	for range l.Walk(t.Context(), keyA, 0, nil) {
		inMemory++
	}
	if inMemory != 600-512 {
		t.Errorf("%d extents in memory", inMemory)
	}
}
