package node

import (
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMovesAreThoseThatAreUnderWay(t *testing.T) {
	n := aMember(t)
	other := n.pair(t)
	began := time.Unix(7, 0)
	m := &member{node: n, seats: map[uint32]*seat{
		1: {id: 1, stage: journal.StageLeads, to: other, handsOn: began},
		2: {id: 2, stage: journal.StageLeads},
		3: {id: 3, stage: journal.StageTakesOver, since: began},
		4: {id: 4, stage: journal.StageFollows, since: began},
		5: {id: 5, stage: journal.StageLeads, to: segment.ID{99}, handsOn: began},
	}}
	moves := m.Moves()
	if len(moves) != 4 || moves[0].Taking || !moves[0].Since.Equal(began) || !strings.HasSuffix(moves[0].Waits, "it goes to node 2") {
		t.Fatalf("%+v", moves)
	}
	if moves[1].Journal != 3 || !moves[1].Taking || moves[2].Journal != 4 || !moves[2].Taking || !moves[2].Since.Equal(began) {
		t.Errorf("%+v", moves)
	}
	if strings.Contains(moves[3].Waits, "node") {
		t.Errorf("it names a node that is not there: %+v", moves[3])
	}
}
