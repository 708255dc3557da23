package cache

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestSoundBytesAreThoseThatWereMarked marks and asks at random, and compares with
// a model that has one flag for each byte.
func TestSoundBytesAreThoseThatWereMarked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size, blockSize, start = 100, 30, 60
		s := Span{start: start, end: start + size, blockSize: blockSize}
		for at := 0; at < size; at += blockSize {
			s.blocks = append(s.blocks, NewBlock(make([]byte, min(blockSize, size-at)), nil))
		}
		var sound [size + 1]bool // the last one never is
		for range rapid.IntRange(1, 20).Draw(t, "marks") {
			off := rapid.IntRange(0, size-1).Draw(t, "off")
			n := rapid.IntRange(0, size-off).Draw(t, "n")
			s.Mark(int64(start+off), int64(n))
			for i := off; i < off+n; i++ {
				sound[i] = true
			}
			for at := range size {
				want := at
				for sound[want] {
					want++
				}
				if got := s.SoundTo(int64(start + at)); got != int64(start+want) {
					t.Fatalf("sound from %d to %d, want to %d", start+at, got, start+want)
				}
			}
		}
		for _, b := range s.blocks {
			for i := 1; i < len(b.sound); i++ {
				if b.sound[i-1].to >= b.sound[i].from {
					t.Fatalf("stretches touch: %v", b.sound)
				}
			}
		}
	})
}

func TestBlockRemembersBoundedly(t *testing.T) {
	b := NewBlock(make([]byte, 10*maxStretches), nil)
	for at := int64(0); at < int64(len(b.data)); at += 2 {
		b.mark(stretch{at, at + 1})
	}
	if len(b.sound) != maxStretches || b.soundFrom(0) != 1 || b.soundFrom(2*maxStretches) != 2*maxStretches {
		t.Errorf("%d stretches, or others than the first", len(b.sound))
	}
	b.mark(stretch{0, int64(len(b.data))})
	if len(b.sound) != 1 {
		t.Errorf("%d stretches in a block that is sound", len(b.sound))
	}
}

func TestSpanGivesBytesWithoutACopy(t *testing.T) {
	object := pattern(2 * testBlock)
	s := Span{start: testBlock, end: 3 * testBlock, blockSize: testBlock,
		blocks: []*Block{NewBlock(object[:testBlock:testBlock], nil), NewBlock(object[testBlock:], nil)}}
	if got := s.Slice(testBlock+10, 20); &got[0] != &object[10] || cap(got) != 20 {
		t.Error("a piece of one block was copied, or can be written beyond")
	}
	if n := len(s.Slice(testBlock+10, 0)); n != 0 {
		t.Errorf("%d bytes for none", n)
	}
	if got := s.Slice(2*testBlock-5, 10); !bytes.Equal(got, object[testBlock-5:testBlock+5]) {
		t.Error("bytes across two blocks are wrong")
	}
	parts := s.Append(nil, 2*testBlock-5, 10)
	if len(parts) != 2 || &parts[0][0] != &object[testBlock-5] || &parts[1][0] != &object[testBlock] || len(parts[1]) != 5 {
		t.Error("bytes across two blocks are not two pieces of them")
	}
	if got := s.Append(nil, testBlock, testBlock); len(got) != 1 || len(got[0]) != testBlock || cap(got[0]) != testBlock {
		t.Error("a whole block is not one piece")
	}
}
