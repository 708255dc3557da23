package batch

import (
	"encoding/binary"
	"errors"
)

var (
	errLinked  = errors.New("lz4 frame whose blocks depend on each other, which Kafka's clients do not read")
	errS2      = errors.New("snappy block that uses S2, which Kafka's clients do not read")
	errXerial0 = errors.New("snappy framing of version 0, which Kafka's clients do not read")
)

// foreign returns an error if the decoders here can read the records of p, but Kafka's
// clients cannot. Only new batches are checked; stored ones are read as far as possible.
func foreign(p *plan) error {
	switch p.codec {
	case LZ4:
		const independent = 1 << 5
		if p.src[4]&independent == 0 {
			return errLinked
		}
	case Snappy:
		return foreignSnappy(p)
	}
	return nil
}

func foreignSnappy(p *plan) error {
	if p.whole > 0 {
		if usesS2(p.src) {
			return errS2
		}
		return nil
	}
	if int32(binary.BigEndian.Uint32(p.src[len(xerialMagic):])) < 1 {
		return errXerial0
	}
	for rest := p.src[xerialHeader:]; len(rest) > 0; {
		block, after, err := nextBlock(rest)
		if err != nil {
			return err
		}
		if usesS2(block) {
			return errS2
		}
		rest = after
	}
	return nil
}

// usesS2 reports whether a block has a copy from offset 0, which S2 has for repeating
// the last offset, and snappy has not. It ignores that a block is cut short.
func usesS2(block []byte) bool {
	_, n := binary.Uvarint(block)
	for at := max(n, 0); at < len(block); {
		tag := block[at]
		if tag&0xe3 == 1 && at+1 < len(block) && block[at+1] == 0 {
			return true
		}
		step := snappySteps[tag]
		if step == 0 {
			if step = longLiteral(block[at:]); step == 0 {
				return false
			}
		}
		at += step
	}
	return false
}

// snappySteps has how many bytes an element of a block takes, by its first byte; 0 is a
// literal whose length follows.
var snappySteps = func() (steps [256]int) {
	for tag := range steps {
		switch tag & 3 {
		case 0:
			if n := tag >> 2; n < 60 {
				steps[tag] = 1 + n + 1
			}
		case 1:
			steps[tag] = 2
		case 2:
			steps[tag] = 3
		case 3:
			steps[tag] = 5
		}
	}
	return steps
}()

// longLiteral returns how many bytes the literal that starts b takes; 0 if b is too short.
func longLiteral(b []byte) int {
	more := int(b[0]>>2) - 59
	if more >= len(b) {
		return 0
	}
	n := 0
	for i := more; i > 0; i-- {
		n = n<<8 | int(b[i])
	}
	if n >= len(b) {
		return 0
	}
	return 1 + more + n + 1
}
