"""A kernel for every stage of a step, products left to a library: what tiers C and D record and replay.

Step number, place in the data and flags live in the words C on the device, so that a recording serves every step with
the same number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc.emit import control as status
from graphc.emit.cuda import control
from graphc.emit.cuda.groups import DEPTH, TILE, GroupPrinter, Team
from graphc.emit.cuda.module import module_text
from graphc.emit.cuda.places import LARGEST, TOLERANCE, Places, capacity_of, memory_of
from graphc.emit.cuda.program import CudaKernel, CudaProgram
from graphc.emit.cuda.steps import StepPrinter
from graphc.emit.loops import Text
from graphc.ir.node import Node
from graphc.lower.kernels import Kernel, Product
from graphc.lower.stages import Group, stages_of
from graphc.lower.tiers import LANES, Choice, method_of
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
    """The kernels of one step and the order of their launches."""
    return _Launches(step, rule, dtype, list(metrics), choice, captions or {}, tolerance, blas).program(name)


class _Launches:
    def __init__(
        self,
        step: StepPlan,
        rule: Rule,
        dtype: str,
        metrics: list[str],
        choice: Choice,
        captions: Mapping[Node, str],
        tolerance: bool,
        blas: bool,
    ) -> None:
        self.step, self.rule, self.dtype, self.metrics = step, rule, dtype, metrics
        self.choice, self.tolerance, self.blas = choice, tolerance, blas
        self.text = Text(depth=0)
        self.capacity = capacity_of(step)
        self.memory = memory_of(step, len(rule.states))
        self.places = Places(step.plan.buffers, self.memory, self.capacity)
        self.stages = stages_of(step.plan.kernels, step.plan.buffers, self.capacity, self._joins)
        team = Team("me", "team", "block", "blocks", lambda text: None)
        self.groups = GroupPrinter(self.text, self.places, team, self._method, captions, dtype)
        self.parts = StepPrinter(self.text, self.places, step, rule, self.groups, "C")
        self.kernels: list[CudaKernel] = []
        self.order: list[str | Product] = []

    def _way(self, kernel: Kernel) -> str:
        return method_of(kernel, self.choice.tier, self.capacity, self.blas)

    def _method(self, group: Group) -> str:
        return self._way(group.head)

    def _joins(self, kernel: Kernel) -> bool:
        return self._way(kernel) in ("elements", "tiles")

    def program(self, name: str) -> CudaProgram:
        if self.parts.batched:
            self._kernel("batch", lambda: self.parts.gather(known=False), "the rows of the batch")
        for number, groups in enumerate(self.stages):
            self._stage(number, groups)
        if self.tolerance:
            self._kernel("largest", self.parts.largest, "the largest gradient", grid="one")
        if self.rule.needs_norm:
            self._kernel("norm", self.parts.norm, "the norm of the gradient", grid="one")
        self._kernel("update", self._update, f"the update: {self.rule.name}")
        self._kernel("books", self._books, "the log of the step, and the place of the next", grid="one")
        title = f"{name}: training, tier {self.choice.tier}"
        text = module_text(title, self.dtype, self.places.constants, self.text.lines)
        return CudaProgram(name, text, self.dtype, self.choice.tier, tuple(self.kernels), tuple(self.order))

    def _stage(self, number: int, groups: Sequence[Group]) -> None:
        """One kernel for what is printed, then the products of the stage that a library computes."""
        own = [g for g in groups if self._method(g) != "blas"]

        def body() -> None:
            for group in own:
                self.groups.print(group)

        if own:
            self._kernel(f"stage_{number}", body, f"stage {number}", own)
        self.order += [g.head for g in groups if isinstance(g.head, Product) and self._method(g) == "blas"]

    # ------------------------------------------------------------------ kernels
    @property
    def _arguments(self) -> tuple[tuple[str, str], ...]:
        number = f"{self.dtype}*"
        own = [("M", number), ("L", "int32*"), ("K", number), ("C", "int32*"), ("R", "uint64*"), ("H", number)]
        data = [(i.pointer, "int32*" if i.integer else number) for i in self.step.inputs]
        return (*own, ("Q", number), *data)

    def _kernel(
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
        self.kernels.append(CudaKernel(name, arguments, self.choice.threads, grid))
        self.order.append(name)

    def _shared_arrays(self, name: str, groups: Sequence[Group]) -> None:
        ways = {self._method(g) for g in groups}
        if name in ("largest", "norm") or "lanes" in ways:
            self.text.add(f"G = cuda.shared.array({LANES}, f)")
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

    def _update(self) -> None:
        self.parts.load_scalars(ROW)
        self.parts.update()

    def _books(self) -> None:
        with self.text.block("if me == U(0):"):
            self.parts.log(ROW, self.metrics)
            for word, verdict in ((control.BAD_UPDATE, status.OVERFLOW), (control.BAD_GRADIENT, status.NONFINITE)):
                with self.text.block(f"if C[{word}] != int32(0):"):
                    self.text.add(f"C[{control.STATUS}] = int32({verdict})")
            with self.text.block(f"if C[{control.STATUS}] == int32(0):"):
                self._advance()

    def _advance(self) -> None:
        add = self.text.add
        add(f"C[{control.DONE}] = int32(done + U(1))", "at = U(at + count)")
        with self.text.block("if at >= rows:"):
            add("at = U(0)", f"C[{control.EPOCHS}] = int32(C[{control.EPOCHS}] + int32(1))")
            if self.tolerance:
                extras = self.memory.extras
                with self.text.block(f"if M[{extras + LARGEST}] <= M[{extras + TOLERANCE}]:"):
                    add(f"C[{control.STATUS}] = int32({status.CONVERGED})")
                add(f"M[{extras + LARGEST}] = f(0.0)")
        add(f"C[{control.POSITION}] = int32(at)")
