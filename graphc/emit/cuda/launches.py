"""A kernel for every stage of a step, products left to a library: what tiers C and D record and replay.

Evaluation runs the same way.  Step number, place in the data and flags live in the words C on the device, so that a
recording serves every step with the same number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc.emit import control as status
from graphc.emit.cuda import control
from graphc.emit.cuda.arithmetic import Term, plus, times, u
from graphc.emit.cuda.bodies import decode
from graphc.emit.cuda.groups import DEPTH, TILE, GroupPrinter, Team, free_names, size_of, widest_lanes
from graphc.emit.cuda.module import module_text
from graphc.emit.cuda.places import LARGEST, TOLERANCE, Places, capacity_of, memory_of
from graphc.emit.cuda.program import CudaKernel, CudaProgram
from graphc.emit.cuda.steps import StepPrinter
from graphc.emit.loops import Text
from graphc.ir.node import Node
from graphc.lower.kernels import Product
from graphc.lower.stages import Group
from graphc.lower.tiers import LANES, Choice, method_of, stages_for
from graphc.lower.training import StepPlan
from graphc.optim.rules import Rule

ROW = "done"


def training_launches(
    name: str,
    step: StepPlan,
    rule: Rule,
    dtype: str,
    metrics: Sequence[str],
    choice: Choice,
    captions: Mapping[Node, str] | None = None,
    tolerance: bool = False,
    blas: bool = True,
) -> CudaProgram:
    """The kernels of one training step and the order of their launches."""
    launches = _Launches(step, dtype, choice, captions or {}, blas, rule)
    launches.steps()
    if tolerance:
        launches.kernel("largest", launches.parts.largest, "the largest gradient", grid="one")
    if rule.needs_norm:
        launches.kernel("norm", launches.parts.norm, "the norm of the gradient", grid="one")
    launches.kernel("update", launches.update, f"the update: {rule.name}")
    books = lambda: launches.books(["loss", *metrics], tolerance)
    launches.kernel("books", books, "the log of the step, and the place of the next", grid="one")
    return launches.program(name, "training")


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
    launches.kernel("results", lambda: launches.results(outputs), "rows of the results")
    books = lambda: launches.books(list(scalars), tolerance=False)
    launches.kernel("books", books, "the log of the batch, and the place of the next", grid="one")
    return launches.program(name, "evaluation")


class _Launches:
    def __init__(
        self,
        step: StepPlan,
        dtype: str,
        choice: Choice,
        captions: Mapping[Node, str],
        blas: bool,
        rule: Rule | None,
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
        return method_of(group.head, self.choice.tier, self.capacity, self.blas)

    def program(self, name: str, what: str) -> CudaProgram:
        title = f"{name}: {what}, tier {self.choice.tier}"
        text = module_text(title, self.dtype, self.places.constants, self.text.lines)
        return CudaProgram(name, text, self.dtype, self.choice.tier, tuple(self.kernels), tuple(self.order))

    def steps(self) -> None:
        """The batch, then every stage of the plan."""
        if self.parts.batched:
            self.kernel("batch", lambda: self.parts.gather(known=False), "the rows of the batch")
        for number, groups in enumerate(self.stages):
            self._stage(number, groups)

    def _stage(self, number: int, groups: Sequence[Group]) -> None:
        """One kernel for what is printed, then the products of the stage that a library computes."""
        own = [g for g in groups if self._method(g) != "blas"]

        def body() -> None:
            for group in own:
                self.groups.print(group)

        if own:
            self.kernel(f"stage_{number}", body, f"stage {number}", own)
        self.order += [g.head for g in groups if isinstance(g.head, Product) and self._method(g) == "blas"]

    # ------------------------------------------------------------------ kernels
    @property
    def _arguments(self) -> tuple[tuple[str, str], ...]:
        number = f"{self.dtype}*"
        own = [("M", number), ("L", "int32*"), ("K", number), ("C", "int32*"), ("R", "uint64*"), ("H", number)]
        data = [(i.pointer, "int32*" if i.integer else number) for i in self.step.inputs]
        results = [(pointer, number) for pointer in self.pointers]
        return (*own, ("Q", number), *data, *results)

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
            with self.text.block(f"if C[{control.STATUS}] == int32(0):"):
                self._words(name == "batch")
                body()
        threads = 1 if name == "books" else self.choice.threads
        self.kernels.append(CudaKernel(name, arguments, threads, grid))
        self.order.append(name)

    def _shared_arrays(self, name: str, groups: Sequence[Group]) -> None:
        ways = {self._method(g) for g in groups}
        lanes = LANES if name in ("largest", "norm") else widest_lanes(groups, self._method, self.capacity)
        if lanes:
            self.text.add(f"G = cuda.shared.array({lanes}, f)")
        if "tiles" in ways:
            part = DEPTH * (TILE + 1)
            self.text.add(f"TA = cuda.shared.array({part}, f)", f"TB = cuda.shared.array({part}, f)")
            self.text.add(f"TC = cuda.shared.array({TILE * TILE}, f)")

    def _words(self, order: bool) -> None:
        add, word = self.text.add, lambda w: f"U(C[{w}])"
        add(f"rows = {word(control.ROWS)}", f"at = {word(control.POSITION)}", f"done = {word(control.DONE)}")
        if self.step.batch:
            self.parts.count()
        else:
            add("count = U(1)")
        if order:
            add("words = U(0)", "epochs_ahead = U(0)", f"shuffle = {word(control.SHUFFLE)}")
            self.parts.shuffle_constants()
            self.parts.epoch_keys(word(control.EPOCHS), "U(0)")

    def update(self) -> None:
        self.parts.load_scalars(ROW)
        self.parts.update()

    def results(self, outputs: Mapping[str, str]) -> None:
        """Rows of the outputs, where those of the batch belong."""
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

    def books(self, values: Sequence[str], tolerance: bool) -> None:
        """The log of the step; a step with a bad number is the last, and everything after it does nothing."""
        with self.text.block("if me == U(0):"):
            self.parts.log(ROW, values)
            for word, verdict in ((control.BAD_UPDATE, status.OVERFLOW), (control.BAD_GRADIENT, status.NONFINITE)):
                with self.text.block(f"if C[{word}] != int32(0):"):
                    self.text.add(f"C[{control.STATUS}] = int32({verdict})")
            with self.text.block(f"if C[{control.STATUS}] == int32(0):"):
                self._advance(tolerance)

    def _advance(self, tolerance: bool) -> None:
        add = self.text.add
        add(f"C[{control.DONE}] = int32(done + U(1))", "at = U(at + count)")
        with self.text.block("if at >= rows:"):
            add("at = U(0)", f"C[{control.EPOCHS}] = int32(C[{control.EPOCHS}] + C[{control.ENDS}])")
            if tolerance:
                with self.text.block(f"if C[{control.ENDS}] != int32(0):"):
                    self._tolerance_test()
        add(f"C[{control.POSITION}] = int32(at)")

    def _tolerance_test(self) -> None:
        add, extras = self.text.add, self.memory.extras
        with self.text.block(f"if M[{extras + LARGEST}] <= M[{extras + TOLERANCE}]:"):
            add(f"C[{control.STATUS}] = int32({status.CONVERGED})")
        add(f"M[{extras + LARGEST}] = f(0.0)")
