"""Journal 0, as tiering/segment/FORMAT.md has it: nodes and the journals that are assigned to them, from level 3 on."""

from dataclasses import dataclass, replace

from wire import need

SERVING, LEAVING, DRAINED, REMOVED = 1, 2, 3, 4
INGEST = 1
NONE = bytes(16)
HOME_REMOVED = 12
MAY_BECOME = {0: (REMOVED,), SERVING: (LEAVING, DRAINED, REMOVED), LEAVING: (DRAINED, REMOVED), DRAINED: (SERVING, REMOVED), REMOVED: ()}


@dataclass(frozen=True)
class Node:
    broker: int
    state: int = 0
    fence: int = 0
    run: tuple = ()

    def ingests(self):
        return bool(self.run and self.run[3] & INGEST)

    def serves(self):
        return self.state == SERVING and self.ingests()

    def runs(self):
        return self.state not in (0, REMOVED)

    def lives(self):
        return self.runs() and not self.fence


@dataclass(frozen=True)
class Assignment:
    number: int
    node: bytes
    home: bytes
    why: int
    moves: int
    deaths: int


def run(r):
    start, lowest, highest, roles, rack = r.set_id(), r.u16(), r.u16(), r.u8(), r.text()
    listeners = tuple((r.text(), r.text(), r.u16()) for _ in range(r.u16()))
    need(1 <= lowest <= highest and 1 <= roles <= 7 and len(rack.encode()) <= 255, f"{r.what} has a wrong run")
    need(1 <= len(listeners) <= 16 and len({name for name, _, _ in listeners}) == len(listeners), f"{r.what} has wrong listeners")
    need(all(1 <= len(name.encode()) <= 64 and 1 <= len(host.encode()) <= 255 and port for name, host, port in listeners), f"{r.what} has a wrong listener")
    return (start, lowest, highest, roles, rack, listeners)


def assignment(r):
    journal, a = r.u32(), Assignment(r.u32(), r.id(), r.set_id(), r.u8(), r.u16(), r.u8())
    need(journal and a.number and 1 <= a.why <= 12, f"{r.what} has a wrong assignment")
    return journal, a


class Members:
    """The nodes and the assignments of journal 0; a part of its state."""

    def node(self, r):
        node = r.set_id()
        need(self.level >= 3 and node in self.nodes and self.nodes[node].state != REMOVED, f"{r.what} names no node")
        return node, self.nodes[node]

    def start(self, r):
        node, n = self.node(r)
        started = run(r)
        need(not n.run or n.run[0] != started[0], f"{r.what} starts node {n.broker} again")
        self.fits(started, r)
        self.nodes[node] = replace(n, state=n.state if n.state == DRAINED else SERVING, fence=0, run=started)

    def fits(self, started, r):
        need(started[1] <= self.level <= started[2], f"{r.what} is of a node that does not support level {self.level}")

    def set_state(self, r):
        node, n = self.node(r)
        state = r.u8()
        need(state in MAY_BECOME[n.state], f"{r.what} makes node {n.broker} {state}, it is {n.state}")
        others = [o for o in self.nodes.values() if o is not n and o.serves() and (o.lives() or not n.lives())]
        need(state == LEAVING or not n.ingests() or n.state == DRAINED or others, f"{r.what} leaves no node that serves")
        if state == REMOVED:
            need(all(node not in (a.node, a.home) for a in self.assignments.values()), f"{r.what} removes node {n.broker}, which has a journal")
            n = replace(n, fence=0, run=())
        self.nodes[node] = replace(n, state=state)

    def set_fence(self, r):
        node, n = self.node(r)
        fence = r.u8()
        need(fence <= 3 and fence != n.fence and n.runs(), f"{r.what} fences node {n.broker}: {fence}")
        self.nodes[node] = replace(n, fence=fence)

    def assign(self, r):
        journal, a = assignment(r)
        before = self.assignments.get(journal)
        need(self.level >= 3 and journal <= self.journals and a.number == (before.number if before else 0) + 1, f"{r.what} is out of order")
        need(a.home in self.nodes and self.nodes[a.home].runs(), f"{r.what} has no home")
        same = before and a.node == before.node and a.why == HOME_REMOVED
        n = self.nodes.get(a.node)
        need(a.node == NONE or same or n and n.serves() and n.lives(), f"{r.what} assigns journal {journal} to a node that does not serve")
        self.assignments[journal] = a

    def nothing(self, r):
        need(self.level >= 3, f"{r.what} is of level 3")

    def restore_node(self, node, r):
        n = replace(self.nodes[node], state=r.u8(), fence=r.u8())
        need(n.state <= REMOVED and n.fence <= 3 and (n.runs() or not n.fence), f"{r.what} has a wrong node {n.broker}")
        if n.runs():
            n = replace(n, run=run(r))
            self.fits(n.run, r)
        self.nodes[node] = n

    def restore_assignments(self, r):
        last = 0
        for _ in range(r.u32()):
            journal, a = assignment(r)
            need(last < journal <= self.journals, f"{r.what} has journal {journal} out of order")
            need(all(node in self.nodes and self.nodes[node].runs() for node in (a.node, a.home) if node != NONE), f"{r.what} assigns journal {journal} to no node")
            self.assignments[journal], last = a, journal
