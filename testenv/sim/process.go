package sim

import "time"

// Process can crash and freeze. Its events do not happen when it is dead, and wait while
// it is frozen.
type Process struct {
	World *World
	Name  string
	Skew  time.Duration // how far its clock is ahead

	dead   bool
	frozen bool
	held   []func()

	storeTime time.Time // of the newest answer to a read
	answers   uint64
}

// NewProcess starts one.
func (w *World) NewProcess(name string) *Process {
	w.Trace("start " + name)
	return &Process{World: w, Name: name}
}

// Now is the time by its clock.
func (p *Process) Now() time.Time { return p.World.Now().Add(p.Skew) }

// Dead reports whether it was killed.
func (p *Process) Dead() bool { return p.dead }

// Frozen reports whether it stands still.
func (p *Process) Frozen() bool { return p.frozen }

// After lets f happen in the process when d has passed, if it lives then.
func (p *Process) After(d time.Duration, what string, f func()) {
	p.World.After(d, what, func() { p.Do(f) })
}

// Do lets f happen in the process now, or when it thaws, or never.
func (p *Process) Do(f func()) {
	switch {
	case p.dead:
	case p.frozen:
		p.held = append(p.held, f)
	default:
		f()
	}
}

// Kill ends it: nothing more happens in it. Its requests stay under way.
func (p *Process) Kill() {
	p.World.Trace("kill " + p.Name)
	p.dead, p.held = true, nil
}

// Freeze lets it stand still for d.
func (p *Process) Freeze(d time.Duration) {
	if p.frozen || p.dead {
		return
	}
	p.frozen = true
	p.World.Count("freeze")
	p.World.After(d, "thaw "+p.Name, p.thaw)
}

func (p *Process) thaw() {
	p.frozen = false
	held := p.held
	p.held = nil
	for _, f := range held {
		p.Do(f)
	}
}
