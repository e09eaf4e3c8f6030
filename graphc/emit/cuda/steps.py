"""What surrounds the kernels of a training step: rows of the batch, the update, the log of the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import sympy

from graphc.declare.constraints import LEVEL, ROUNDS, THETA, Constraint
from graphc.declare.constraints import NORM as NORM_OF_THETA
from graphc.emit.cuda import control
from graphc.emit.cuda.arithmetic import Term, minus, plus, times, u
from graphc.emit.cuda.draws import DrawPrinter
from graphc.emit.cuda.functions import CudaPrinter
from graphc.emit.cuda.groups import GroupPrinter
from graphc.emit.cuda.memory_map import LARGEST, NORM, Places
from graphc.emit.cuda.orthogonal import Orthogonal
from graphc.emit.cuda.scalars import step_scalars
from graphc.emit.text import Text
from graphc.emit.update import Part, constrained, padded, parts_of, states_of
from graphc.lower.layout import Count
from graphc.lower.tiers import LANES
from graphc.lower.training import Input, Layout, StepPlan
from graphc.optim.groups import AnyRule
from graphc.optim.passes import Pass, Reduction, orthogonal, passes, with_gradient
from graphc.optim.rules import NORM as NORM_SYMBOL
from graphc.optim.rules import Statement

At = Callable[..., str]
"""The text of an element of a state, or of the parameters or the gradient, by its place."""


class StepPrinter:
    """Prints the parts of a step that are no equations; ``flags`` is the array of the words for bad numbers."""

    def __init__(
        self, text: Text, places: Places, step: StepPlan, rule: AnyRule | None, groups: GroupPrinter, flags: str
    ) -> None:
        self.text, self.places, self.step, self.groups = text, places, step, groups
        self.flags = flags
        self.draws = DrawPrinter(text, places, step, groups, groups.dtype)
        if rule is not None:
            self.rule, self.scalars = rule, step_scalars(rule)
            self.of_rules = parts_of(rule, step.layout)
        self.memory = places.memory

    # ------------------------------------------------------------------ rows of the batch
    @property
    def batched(self) -> list[Input]:
        return [i for i in self.step.inputs if i.batched]

    def count(self) -> None:
        """The rows of this batch."""
        cap = self.step.capacity
        self.text.add(f"count = U(rows - at) if U(rows - at) < U({cap}) else U({cap})")

    def order(self) -> None:
        """L[i] = the row of the data that is number i of the batch."""

        def inside() -> None:
            self._row("e")
            self.text.add("L[e] = int32(row)")

        self.groups.every("count", inside)

    def _row(self, number: str) -> None:
        """``row`` = where the bijection of this epoch sends at + number: a Feistel network with cycle walking."""
        add = self.text.add
        add(f"row = U(at + {number})")
        with self.text.block("if shuffle != U(0):"):
            add("z = uint64(row)", "again = U(1)")
            with self.text.block("while again != U(0):"):
                add("high = uint64(z >> low_bits)", "low = uint64(z & low_mask)", "w = keys")
                with self.text.block("while w < last_key:"):
                    add("high = uint64(high ^ uint64(uint64(R[w] + uint64(low*R[U(w + U(1))])) >> high_shift))")
                    add("low = uint64(low ^ uint64(uint64(R[U(w + U(2))] + uint64(high*R[U(w + U(3))])) >> low_shift))")
                    add("w = U(w + U(4))")
                add("z = uint64(uint64(high << low_bits) | low)", "again = U(0) if z < uint64(rows) else U(1)")
            add("row = U(z)")

    def shuffle_constants(self) -> None:
        """Shifts and masks of the network, the same for a whole run."""
        c = lambda word: f"uint64(C[{u(plus('words', word))}])"
        self.text.add(
            f"low_bits = {c(control.LOW_BITS)}",
            f"high_shift = uint64(uint64(64) - {c(control.HIGH_BITS)})",
            "low_shift = uint64(uint64(64) - low_bits)",
            "low_mask = uint64(uint64(uint64(1) << low_bits) - uint64(1))",
            f"key_words = U(U(2)*U(C[{u(plus('words', control.ROUNDS))}]))",
        )

    def epoch_keys(self, epoch: Term) -> None:
        """Where the keys of an epoch begin and end, counted from the set of keys that the copy reads."""
        self.text.add(f"keys = {u(times(epoch, 2 * control.KEYS))}", "last_key = U(keys + key_words)")

    def gather(self, known: bool) -> None:
        """The rows of the batch; ``known`` when L holds their numbers already."""
        for i in self.batched:
            self.groups.every(times("count", i.row), lambda i=i: self._gather_element(i, known))

    def _gather_element(self, i: Input, known: bool) -> None:
        add = self.text.add
        number = "e" if i.row == 1 else f"U(e // U({i.row}))"
        if known:
            add(f"row = U(L[{number}])")
        else:
            self._row(number)
        source = times("row", i.row) if i.row == 1 else plus(times("row", i.row), f"U(e % U({i.row}))")
        add(f"{self.places.at(i.buffer, 'e')} = {i.pointer}[{u(source)}]")

    # ------------------------------------------------------------------ update
    def norm(self) -> None:
        """The Euclidean norm of the gradient, or of those of each rule, by one block."""
        for part in self._with_norms():
            result = f"M[{self._place_of_norm(part)}] = math.sqrt(G[0])"
            self._over_gradients("s = s + g*g", "sum", result, part.stretches)

    def _with_norms(self) -> list[Part]:
        return [part for part in self.of_rules if part.rule.needs_norm]

    def _place_of_norm(self, part: Part) -> int:
        return self.memory.extras + NORM + part.number

    def largest(self) -> None:
        """The largest gradient of the epoch so far."""
        slot = f"M[{self.memory.extras + LARGEST}]"
        bigger = "s = s if s > abs(g) or s != s else abs(g)"
        self._over_gradients(bigger, "max", f"{slot} = {slot} if {slot} > G[0] else G[0]")

    def _over_gradients(
        self, step: str, reducer: str, result: str, stretches: Sequence[tuple[int, int]] | None = None
    ) -> None:
        add, text = self.text.add, self.text

        def partial_sum() -> None:
            add("s = f(0.0)")
            for begin, end in stretches or [(0, self.memory.total)]:
                add(f"q = {plus('e', begin)}")
                with text.block(f"while q < U({end}):"):
                    add(f"g = M[{u(plus(self.memory.gradients, 'q'))}]", step, f"q = U(q + U({LANES}))")
            add("G[e] = s")

        with text.block(f"if {self.groups.team.block} == U(0):"):
            self.groups.lanes(LANES, partial_sum)
            self.groups.fold(reducer, LANES)
            with text.block("if thread == U(0):"):
                add(result)
            add("cuda.syncthreads()")

    def load_fixed(self, copy: Term) -> None:
        """The numbers that are the same for all steps, from E: a row a copy."""
        first, width = len(self.scalars.columns), len(self.scalars.fixed)
        for t in range(width):
            self.text.add(f"h_{first + t} = E[{u(plus(times(copy, width), t))}]")

    def load_scalars(self, row: str) -> None:
        """The numbers of this step from the table H: a row a step."""
        width = len(self.scalars.columns)
        for t in range(width):
            self.text.add(f"h_{t} = H[{u(plus(times(row, width), t))}]")
        self.text.add(*(f"{_norm_of(part)} = M[{self._place_of_norm(part)}]" for part in self._with_norms()))

    def raised(self, word: int) -> str:
        """The statement that tells of a bad number."""
        return f"{self.flags}[{word}] = int32(1)"

    def _passes(self, part: Part) -> list[Pass]:
        """What the update does to elements, pass by pass, with the sums that follow each but the last."""
        return with_gradient(passes(self.scalars.statements[part.number]))

    @property
    def early_passes(self) -> list[tuple[Part, Pass]]:
        """All passes but the last of every rule."""
        return [(part, found) for part in self.of_rules for found in self._passes(part)[:-1]]

    def early_pass(self, part: Part, elements: Sequence[Statement]) -> None:
        """A pass before the last: what it assigns is kept for later ones."""
        read, assigned = states_of(part.rule, elements, last=False)

        def inside() -> None:
            self.text.add(f"theta = {self._at(part, 'theta')}", f"g = {self._at(part, 'g')}")
            self.text.add(*(f"v_{s} = {self._at(part, s)}" for s in read))
            self._statements(part, elements)
            self.text.add(*(f"{self._at(part, s)} = v_{s}" for s in assigned))

        self._elements(part, inside)

    def _elements(self, part: Part, inside: Callable[[], None]) -> None:
        """Every element that a rule updates."""
        for begin, end in part.stretches or [(0, self.memory.total)]:
            self.groups.strided("e", end, u(plus(self.groups.team.me, begin)), self.groups.team.team, inside)

    def _at(self, part: Part, name: str, place: Term = "e") -> str:
        """An element of the parameters, the gradient or a state."""
        m = self.memory
        base = {"theta": 0, "g": m.gradients}.get(name)
        return f"M[{u(plus(m.total * (1 + part.rule.states.index(name)) if base is None else base, place))}]"

    def reduction(self, part: Part, target: str, body: Reduction) -> None:
        """A sum or a mean of every parameter, written to each of its elements: a block takes a parameter, or a thread a
        row or a column. A block takes a parameter that is made orthogonal, too."""
        place = partial(self._at, part)
        for number, (leaf, at) in enumerate(part.layout.offsets.items()):
            self.text.add(f"# {target} = {body.word}({body.args[0]}) of {leaf.name}")
            shape = tuple(int(x) for x in leaf.shape)
            if isinstance(body, orthogonal):
                names = [*map(str, body.args), target]
                with self.text.block(f"if {self.groups.team.block} == U(U({number}) % {self.groups.team.blocks}):"):
                    Orthogonal(self.text, self.groups, place, names, at, shape).print()
                continue
            outer, n, inner = body.sizes(shape)
            source, divide = str(body.args[0]), [f"s = s/f({n})"] * body.mean
            if outer * inner == 1:
                with self.text.block(f"if {self.groups.team.block} == U(U({number}) % {self.groups.team.blocks}):"):
                    self._by_block(place, source, target, at, n, divide)
            else:
                self._by_threads(place, source, target, at, (outer, n, inner), divide)

    def _by_block(self, place: At, source: str, target: str, at: int, n: int, divide: list[str]) -> None:
        add, text = self.text.add, self.text

        def partial_sum() -> None:
            add("s = f(0.0)", "q = e")
            with text.block(f"while q < U({n}):"):
                add(f"s = s + {place(source, plus(at, 'q'))}", f"q = U(q + U({LANES}))")
            add("G[e] = s")

        self.groups.lanes(LANES, partial_sum)
        self.groups.fold("sum", LANES)
        add("s = G[0]", *divide)
        self.groups.lanes(padded(n), lambda: add(f"{place(target, plus(at, 'e'))} = s"))
        add("cuda.syncthreads()")

    def _by_threads(
        self, place: At, source: str, target: str, at: int, sizes: tuple[int, int, int], divide: list[str]
    ) -> None:
        add, text, (outer, n, inner) = self.text.add, self.text, sizes

        def inside() -> None:
            row = plus(times(f"U(e // U({inner}))", n * inner), f"U(e % U({inner}))")
            add(f"lo = {u(plus(at, row))}", f"hi = U(lo + U({n * inner}))", "s = f(0.0)", "q = lo")
            with text.block("while q < hi:"):
                add(f"s = s + {place(source, 'q')}", f"q = U(q + U({inner}))")
            add(*divide, "q = lo")
            with text.block("while q < hi:"):
                add(f"{place(target, 'q')} = s", f"q = U(q + U({inner}))")
            size = outer * n * inner
            if padded(size) > size:  # what lies behind the last element takes its value
                with text.block(f"if e == U({outer * inner - 1}):"):
                    add(f"q = U({at + size})")
                    with text.block(f"while q < U({at + padded(size)}):"):
                        add(f"{place(target, 'q')} = s", "q = U(q + U(1))")

        self.groups.every(outer * inner, inside)

    def update(self) -> None:
        """The last pass over all parameters; what is not finite raises the flag."""
        for part in self.of_rules:
            which = "" if part.stretches is None else f" of {', '.join(str(leaf.name) for leaf in part.layout.offsets)}"
            lines = [" ".join(line.split()) for line in part.rule.text.splitlines()]
            self.text.add(f"# update{which}: {part.rule.name}", *(f"#   {line}" for line in lines))
            self._elements(part, partial(self._update_element, part))
        self._without_rule()

    def _without_rule(self) -> None:
        """States, and the constraints of parameters, that are in no part."""
        ruled = [leaf for part in self.of_rules for leaf in part.layout.offsets]
        others = {leaf: at for leaf, at in self.step.layout.offsets.items() if leaf not in ruled}
        if all(part.stretches is None for part in self.of_rules):
            return
        own = Layout(others, self.step.layout.names, self.step.layout.total)

        def inside() -> None:
            self.text.add("theta = M[e]")
            self._states(own, [])
            self._constrained_elements(own)
            with self.text.block("if not abs(theta) < INF:"):
                self.text.add(self.raised(control.BAD_UPDATE))
            self.text.add("M[e] = theta")

        for leaf, at in others.items():
            if leaf.kind == "state" or leaf.constraint is not None:
                end, team = at + Count.of(leaf.shape).at({}), self.groups.team
                self.groups.strided("e", end, u(plus(team.me, at)), team.team, inside)

    def _update_element(self, part: Part) -> None:
        add, m, rule = self.text.add, self.memory, part.rule
        at = lambda base: f"M[{u(plus(base, 'e'))}]"
        add(f"theta = {at(0)}", f"g = {at(m.gradients)}")
        places = {s: at(m.total * (1 + n)) for n, s in enumerate(rule.states)}
        add(*(f"v_{s} = {place}" for s, place in places.items()))
        with self.text.block("if not abs(g) < INF:"):
            add(self.raised(control.BAD_GRADIENT))
        self._statements(part, self._passes(part)[-1][0])
        self._states(part.layout, list(places))
        finite = " and ".join(f"abs({x}) < INF" for x in ("theta", *(f"v_{s}" for s in places)))
        with self.text.block(f"if abs(g) < INF and not ({finite}):"):
            add(self.raised(control.BAD_UPDATE))
        self._constrained_elements(part.layout)
        add(f"{at(0)} = theta", *(f"{place} = v_{s}" for s, place in places.items()))

    def _states(self, layout: Layout, of_rule: Sequence[str]) -> None:
        """Every state becomes what its update gave; the rule keeps nothing for it."""
        for leaf, start in layout.offsets.items():
            if leaf.kind != "state":
                continue
            new = self.step.plan.buffers[self.step.plan.roots[f"state:{leaf.name}"]]
            end = start + Count.of(leaf.shape).at({})
            self.text.add(f"# state {leaf.name}")
            with self.text.block(f"if e >= U({start}) and e < U({end}):"):
                value = self.places.at(new, minus("e", start))
                self.text.add(f"theta = {value}", *(f"v_{s} = f(0.0)" for s in of_rule))

    def _constrained_elements(self, layout: Layout) -> None:
        """Constraints of elements that depend on no others."""
        for p in constrained(layout, norms=False):
            self.text.add(p.caption)
            with self.text.block(f"if e >= U({p.at}) and e < U({p.at + p.size}):"):
                self._constrain(p.constraint, "theta")

    def _constrain(self, c: Constraint, place: str) -> None:
        printer = CudaPrinter({THETA: "theta", NORM_OF_THETA: "level", LEVEL: "level"})
        value = printer.print(c.expr)
        self.text.add(*printer.lines, f"{place} = {value}")

    @property
    def has_norms(self) -> bool:
        """Whether a parameter has a constraint on its norms, which comes after the whole update."""
        return bool(constrained(self.step.layout, norms=True))

    def constrained_norms(self) -> None:
        """Constraints on norms: a thread takes one norm and the elements that count to it."""
        for p in constrained(self.step.layout, norms=True):
            self.text.add(p.caption)
            outer, n, inner = p.constraint.sizes(p.shape)
            self.groups.every(outer * inner, lambda p=p, n=n, inner=inner: self._one_norm(p.constraint, p.at, n, inner))

    def _one_norm(self, c: Constraint, at: int, n: int, inner: int) -> None:
        add, text, stop = self.text.add, self.text, f"U(lo + U({n * inner}))"
        add(f"lo = {u(plus(at, plus(times(f'U(e // U({inner}))', n * inner), f'U(e % U({inner}))')))}")


        def over(*lines: str) -> None:
            add("q = lo")
            with text.block(f"while q < {stop}:"):
                add("theta = M[q]", *lines, f"q = U(q + U({inner}))")

        add("s = f(0.0)")
        if c.reads_level:
            over("s = s + theta")
            add(f"level = (s - f(1.0))/f({n})", "h = U(0)")
            with text.block(f"while h < U({min(n, ROUNDS)}):"):
                add("s = f(0.0)", "scale = f(0.0)")
                over("s = s + (theta - level if theta > level else f(0.0))",
                     "scale = scale + (f(1.0) if theta > level else f(0.0))")  # fmt: skip
                add("level = level + (s - f(1.0))/(scale if scale > f(1.0) else f(1.0))", "h = U(h + U(1))")
        else:
            over("s = s + theta*theta")
            add("level = math.sqrt(s)")
        add("q = lo")
        with text.block(f"while q < {stop}:"):
            add(f"theta = M[{u('q')}]")
            self._constrain(c, f"M[{u('q')}]")
            add(f"q = U(q + U({inner}))")

    def _statements(self, part: Part, statements: Sequence[Statement]) -> None:
        element = {sympy.Symbol(n, real=True): n for n in ("g", "theta")}
        element |= {sympy.Symbol(n, real=True): f"v_{n}" for n in (*part.rule.states, *part.rule.temporaries)}
        names = {**self.scalars.names[part.number], **element, NORM_SYMBOL: _norm_of(part)}
        for number, (target, expression) in enumerate(statements):
            printer = CudaPrinter(names)
            printer.prefix = f"u{number}_"
            value = printer.print(expression)
            self.text.add(*printer.lines, f"{element[sympy.Symbol(target, real=True)]} = {value}")

    # ------------------------------------------------------------------ books
    def books(self, roots: Sequence[str], total: Callable[[int], str], row: str) -> None:
        """Weight of the step and weighted scalar roots, added in float64 to the totals of the epoch, as the loop on the
        CPU adds them; the first root into Q where it is written down; one that is not finite raises the flag."""
        add = self.text.add
        weight = self._scalar("weight") if "weight" in self.step.plan.roots else "f(count)"
        add(f"weight = float64({weight})", f"{total(0)} = {total(0)} + weight")
        for t, root in enumerate(roots):
            add(f"{total(1 + t)} = {total(1 + t)} + float64({self._scalar(root)})*weight")
        if not hasattr(self, "rule"):
            return
        loss = self._scalar(roots[0])
        with self.text.block("if record != U(0):"):
            add(f"Q[{row}] = {loss}")
        with self.text.block(f"if not abs({loss}) < INF:"):
            add(self.raised(control.BAD_GRADIENT))

    def close_epoch(self, width: int, total: Callable[[int], str], epoch: Term) -> None:
        """The totals of an epoch into its row of B; the next one begins at 0."""
        for t in range(width):
            self.text.add(f"B[{u(plus(times(epoch, width), t))}] = {total(t)}", f"{total(t)} = float64(0)")

    def _scalar(self, root: str) -> str:
        node = self.step.plan.roots[root]
        buffer = self.places.buffers[node]
        return self.places.at(buffer, 0)


def _norm_of(part: Part) -> str:
    """The name of the norm of the gradient of what a rule updates."""
    return "norm_g" if part.stretches is None else f"norm_g{part.number}"
