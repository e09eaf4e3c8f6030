"""A kernel for every stage of a step, products left to a library: what tiers C and D record and replay.

Evaluation runs the same way.  Step number, place in the data and flags live in the words C on the device, so that a
recording serves every step with the same number of rows, which is an argument.  Kernels of a step read where it stands;
its last kernel writes where the next one will stand, and the first kernel of that makes it so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc.emit import control as status
from graphc.emit.cuda import control
from graphc.emit.cuda.arithmetic import Term, plus, times, u
from graphc.emit.cuda.bodies import decode
from graphc.emit.cuda.draws import arguments as of_draws
from graphc.emit.cuda.groups import (
    DEPTH,
    TILE,
    GroupPrinter,
    Team,
    free_names,
    one_block,
    size_of,
    widest_lanes,
    with_steps,
)
from graphc.emit.cuda.memory_map import LARGEST, TOLERANCE, Places, capacity_of, memory_of
from graphc.emit.cuda.module import module_text
from graphc.emit.cuda.program import CudaKernel, CudaProgram, Training
from graphc.emit.cuda.steps import StepPrinter
from graphc.emit.text import Text
from graphc.ir.node import Node
from graphc.lower.kernels import Product, Steps
from graphc.lower.stages import Group
from graphc.lower.tiers import LANES, Choice, method_of, stages_for
from graphc.lower.training import StepPlan
from graphc.optim.groups import AnyRule

GUARDED = ("largest", "norm", "pass", "whole", "update", "constraints", "results")
"""How the kernels are called that change what a run keeps; batch looks by itself."""


def training_launches(training: Training, choice: Choice, blas: bool = True) -> CudaProgram:
    """The kernels of one training step and the order of their launches."""
    rule, tolerance = training.rule, training.tolerance
    launches = _Launches(training.step, training.dtype, choice, training.captions, blas, rule)
    launches.steps()
    if tolerance:
        launches.kernel("largest", launches.parts.largest, "the largest gradient", grid="one")
    if rule.needs_norm:
        launches.kernel("norm", launches.parts.norm, "the norm of the gradient", grid="one")
    launches.early_passes()
    title = f"the update: {rule.name}; the books, and the place of the next step"
    launches.kernel("update", lambda: launches.update(["loss", *training.metrics], tolerance), title)
    if launches.parts.has_norms:
        launches.kernel("constraints", launches.parts.constrained_norms, "what parameters are set to by their norms")
    return launches.program(training.name, "training")


def evaluation_launches(
    name: str,
    step: StepPlan,
    dtype: str,
    outputs: Mapping[str, str],
    scalars: Sequence[str],
    choice: Choice,
    captions: Mapping[Node, str] | None = None,
    blas: bool = True,
) -> CudaProgram:
    """The kernels that evaluate a batch of rows: ``outputs`` go to their pointers, scalar roots to the log."""
    launches = _Launches(step, dtype, choice, captions or {}, blas, None, tuple(outputs.values()))
    launches.steps()
    title = "rows of the results; the books, and the place of the next batch"
    launches.kernel("results", lambda: launches.results(outputs, scalars), title)
    return launches.program(name, "evaluation")


class _Launches:
    def __init__(
        self,
        step: StepPlan,
        dtype: str,
        choice: Choice,
        captions: Mapping[Node, str],
        blas: bool,
        rule: AnyRule | None,
        results: tuple[str, ...] = (),
    ) -> None:
        self.step, self.dtype, self.choice, self.blas, self.pointers = step, dtype, choice, blas, results
        self.text = Text(depth=0)
        self.capacity = capacity_of(step)
        self.memory = memory_of(step, len(rule.states) if rule else 0)
        self.places = Places(step.plan.buffers, self.memory, self.capacity)
        self.stages = stages_for(step.plan, choice.tier, blas)
        team = Team("me", "team", "block", "blocks", lambda text: None)
        self.groups = GroupPrinter(self.text, self.places, team, self._method, captions, dtype)
        self.parts = StepPrinter(self.text, self.places, step, rule, self.groups, "C")
        self.kernels: list[CudaKernel] = []
        self.order: list[str | Product] = []

    def _method(self, group: Group) -> str:
        library = self.blas and not any(group.head is k for s in self._scans for k in (*s.before, *s.kernels))
        return method_of(group.head, self.choice.tier, self.capacity, library)

    @property
    def _scans(self) -> list[Steps]:
        return [k for k in self.step.plan.kernels if isinstance(k, Steps)]

    def program(self, name: str, what: str) -> CudaProgram:
        title = f"{name}: {what}, tier {self.choice.tier}"
        text = module_text(title, self.dtype, self.places.constants, self.text.lines)
        return CudaProgram(name, text, self.dtype, self.choice.tier, tuple(self.kernels), tuple(self.order))

    def steps(self) -> None:
        """Where the step stands and its rows, then every stage of the plan."""
        self.kernel("batch", self._batch, "the rows of the batch")
        for number, groups in enumerate(self.stages):
            self._stage(number, groups)

    def _stage(self, number: int, groups: Sequence[Group]) -> None:
        """One kernel for what is printed, one for the steps of each scan, then the products that a library computes."""
        own = [g for g in groups if self._method(g) not in ("blas", "steps", "rows")]

        def body() -> None:
            for group in own:
                self.groups.print(group)

        if own:
            self.kernel(f"stage_{number}", body, f"stage {number}", own)
        for place, group in enumerate(g for g in groups if isinstance(g.head, Steps)):
            self._scan(f"scan_{number}_{place}", group)
        self.order += [g.head for g in groups if isinstance(g.head, Product) and self._method(g) == "blas"]

    def _scan(self, name: str, group: Group) -> None:
        """The steps of a scan: blocks that have rows of their own, or one block."""
        many, team = self._method(group) == "rows", self.groups.team
        self.groups.team = team if many else one_block()
        self.kernel(name, lambda: self.groups.print(group), "the steps of a scan", [group], "many" if many else "one")
        self.groups.team = team

    # ------------------------------------------------------------------ kernels
    @property
    def _arguments(self) -> tuple[tuple[str, str], ...]:
        number = f"{self.dtype}*"
        own = [("M", number), ("L", "int32*"), ("K", number), ("C", "int32*"), ("R", "uint64*"), ("H", number),
               ("E", number), ("T", "float64*"), ("B", "float64*")]  # fmt: skip
        data = [(i.pointer, "int32*" if i.integer else number) for i in self.step.inputs]
        results = [(pointer, number) for pointer in self.pointers]
        return (*own, ("Q", number), *of_draws(self.step), ("count", "uint32"), *data, *results)

    def kernel(
        self, name: str, body: Callable[[], None], title: str, groups: Sequence[Group] = (), grid: str = "many"
    ) -> None:
        arguments, add = self._arguments, self.text.add
        if self.kernels:
            self.text.lines += ["", ""]
        with self.text.block(f"def {name}({', '.join(n for n, _ in arguments)}):"):
            add(f'"""{title[0].upper()}{title[1:]}."""')
            self._shared_arrays(name, groups)
            add("thread = U(cuda.threadIdx.x)", "threads = U(cuda.blockDim.x)")
            add("block = U(cuda.blockIdx.x)", "blocks = U(cuda.gridDim.x)")
            add("me = U(U(block*threads) + thread)", "team = U(blocks*threads)")
            if name.startswith(GUARDED):
                with self.text.block(f"if C[{control.STATUS}] == int32(0):"):
                    body()
            else:
                body()
        self.kernels.append(CudaKernel(name, arguments, self.choice.threads, grid))
        self.order.append(name)

    def _shared_arrays(self, name: str, groups: Sequence[Group]) -> None:
        ways = {self._method(g) for g in with_steps(groups, self._method)}
        folds = name in ("largest", "norm") or name.startswith("whole")
        lanes = LANES if folds else widest_lanes(groups, self._method, self.capacity)
        if lanes:
            self.text.add(f"G = cuda.shared.array({lanes}, f)")
        if "tiles" in ways:
            part = DEPTH * (TILE + 1)
            self.text.add(f"TA = cuda.shared.array({part}, f)", f"TB = cuda.shared.array({part}, f)")
            self.text.add(f"TC = cuda.shared.array({TILE * TILE}, f)")

    def _batch(self) -> None:
        """Go on to where the last step left off, unless it was the last of all; gather the rows."""
        add, word = self.text.add, lambda w: f"C[{w}]"
        ended = " + ".join(word(w) for w in (control.NEXT_STATUS, control.BAD_GRADIENT, control.BAD_UPDATE))
        at, epochs = word(control.NEXT_POSITION), word(control.NEXT_EPOCHS)
        add(f"ended = int32({ended})", f"at = U({at})", f"epochs = U({epochs})")
        with self.text.block("if me == U(0):"):
            done = f"C[{control.NEXT_DONE}]"
            values = {"STATUS": "ended", "DONE": done, "POSITION": "int32(at)", "EPOCHS": "int32(epochs)"}
            add(*(f"C[{getattr(control, w)}] = {value}" for w, value in values.items()))
        if self.parts.batched or self.step.draws:
            with self.text.block("if ended == int32(0):"):
                self._rows_and_draws()

    def _rows_and_draws(self) -> None:
        if self.parts.batched:
            word = lambda w: f"U(C[{w}])"
            self.text.add(f"rows = {word(control.ROWS)}", f"shuffle = {word(control.SHUFFLE)}", "words = U(0)")
            self.parts.shuffle_constants()
            self.parts.epoch_keys("epochs")
            self.parts.gather(known=False)
        self.parts.draws.words(0)
        self.parts.draws.print()

    def _place(self) -> None:
        """Where the step stands."""
        word = lambda w: f"U(C[{w}])"
        self.text.add(
            f"rows = {word(control.ROWS)}", f"at = {word(control.POSITION)}", f"done = {word(control.DONE)}"
        )

    def early_passes(self) -> None:
        """Passes of the update before the last, and the sums that follow them."""
        for number, (part, (elements, reductions)) in enumerate(self.parts.early_passes):

            def early(part=part, elements=elements) -> None:
                self._place()
                self.parts.load_fixed(0)
                self.parts.load_scalars("done")
                self.parts.early_pass(part, elements)

            self.kernel(f"pass_{number}", early, f"pass {number} of the update")
            for place, (target, body) in enumerate(reductions):
                what = lambda part=part, target=target, body=body: self.parts.reduction(part, target, body)
                self.kernel(f"whole_{number}_{place}", what, f"{body.word}s over parameters")

    def update(self, values: Sequence[str], tolerance: bool) -> None:
        self._place()
        self.parts.load_fixed(0)
        self.parts.load_scalars("done")
        self.parts.update()
        with self.text.block("if me == U(0):"):
            self._books(values, tolerance)

    def results(self, outputs: Mapping[str, str], scalars: Sequence[str]) -> None:
        """Rows of the outputs, where those of the batch belong; then the books."""
        self._place()
        for root, pointer in outputs.items():
            buffer = self.places.buffers[self.step.plan.roots[root]]
            names = free_names(buffer.extents)
            source: Term = 0
            target: Term = 0
            for name, e, stride in zip(names, buffer.extents, buffer.strides, strict=True):
                source = plus(source, times(name, self.places.number(stride)))
                size, place = ("rows", plus("at", name)) if isinstance(e, str) else (e, name)
                target = plus(times(target, size), place)
            lines = [f"{pointer}[{u(target)}] = {self.places.at(buffer, source)}"]

            def inside(buffer=buffer, names=names, lines=lines) -> None:
                decode(self.text, "e", names, buffer.extents)
                self.text.add(*lines)

            self.groups.every(size_of(buffer.extents), inside)
        with self.text.block("if me == U(0):"):
            self._books(scalars, tolerance=False)

    def _books(self, values: Sequence[str], tolerance: bool) -> None:
        """The totals of the epoch, and where the next step will stand."""
        add, total = self.text.add, lambda t: f"T[{t}]"
        if hasattr(self.parts, "rule"):
            add(f"record = U(C[{control.RECORD}])")
        self.parts.books(values, total, f"U(U(C[{control.LOG}]) + done)")
        add(f"C[{control.NEXT_DONE}] = int32(done + U(1))", "at = U(at + count)")
        with self.text.block("if at >= rows:"):
            add("at = U(0)")
            with self.text.block(f"if C[{control.ENDS}] != int32(0):"):
                add(f"epochs = U(C[{control.EPOCHS}])")
                self.parts.close_epoch(1 + len(values), total, "epochs")
                add(f"C[{control.NEXT_EPOCHS}] = int32(epochs + U(1))")
                if tolerance:
                    self._tolerance_test()
        add(f"C[{control.NEXT_POSITION}] = int32(at)")

    def _tolerance_test(self) -> None:
        add, extras = self.text.add, self.memory.extras
        with self.text.block(f"if M[{extras + LARGEST}] <= M[{extras + TOLERANCE}]:"):
            add(f"C[{control.NEXT_STATUS}] = int32({status.CONVERGED})")
        add(f"M[{extras + LARGEST}] = f(0.0)")
