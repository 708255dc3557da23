package tieringmodel

import "fmt"

// The steps of Segments.
const (
	appended int8 = iota
	committed
	applied
	deposed
	restarted
	sent
	landed
	flipped
	readBack
	deletedMerged
	deletedJournal
	floorMoved
	doubled
	doubleLanded
	rotted
	looked
	got
	lookedAgain
	followed
)

// describe names a step in a trace.
func (m *segments) describe(st step, before, after *state) string {
	who := []string{"the leader", "the deposed leader"}
	switch st.what {
	case appended:
		e := after.leaders[0].pending[after.leaders[0].underWay-1]
		if e.kind() == intent {
			return fmt.Sprintf("the leader appends an Intent of job %d: %v", e.a(), &after.jobs[e.a()])
		}
		return fmt.Sprintf("the leader appends: %v", e)
	case committed:
		return fmt.Sprintf("store: the leader's next object is committed: %v", before.leaders[0].pending[0])
	case applied:
		return who[st.a] + " applies its next object"
	case deposed:
		return "another process leads: fence; the one before has not heard of it"
	case restarted:
		return "the leader's process dies; fence of the next"
	case sent:
		return fmt.Sprintf("%s sends the PUT of job %d", who[st.a], st.b)
	case readBack:
		return fmt.Sprintf("the leader reads back the output of job %d: good", st.b)
	case landed, flipped, deletedMerged, deletedJournal, floorMoved, doubled, doubleLanded, rotted:
		return fmt.Sprintf(stored[st.what], st.b)
	case looked:
		return fmt.Sprintf("the follower looks for %c %d", 'A'+st.a, st.b)
	case got:
		return "the follower gets it"
	case lookedAgain:
		return "the follower gets 404, proves the head and looks again"
	}
	return "the follower applies the next object"
}

// stored are the steps of the store and of floors.
var stored = map[int8]string{
	landed:         "store: the PUT of job %d lands",
	flipped:        "store: the PUT of job %d lands damaged",
	deletedMerged:  "DELETE of merged object %d",
	deletedJournal: "DELETE of journal object %d",
	floorMoved:     "the leader moves the floor to %d",
	doubled:        "store: a second PUT of journal object %d is still under way",
	doubleLanded:   "store: the second PUT of journal object %d lands",
	rotted:         "journal object %d rots",
}

func (j *job) String() string {
	from := "merged segments"
	if j.first {
		from = "the journal"
	}
	s := "of " + from
	for p := range j.from {
		if j.parts>>p&1 != 0 {
			s += fmt.Sprintf(", %c from %d to %d", 'A'+p, j.from[p], j.to[p])
		}
	}
	return s
}
