"""One kernel that trains for many steps: tier A in one block with shared memory, tier B in many with a barrier."""

from __future__ import annotations

from graphc.emit import control as status
from graphc.emit.cuda import control
from graphc.emit.cuda.arithmetic import plus, times, u
from graphc.emit.cuda.draws import arguments as of_draws
from graphc.emit.cuda.groups import DEPTH, TILE, GroupPrinter, Team, one_block, widest_lanes, with_steps
from graphc.emit.cuda.memory_map import LARGEST, TOLERANCE, Places, capacity_of, memory_of
from graphc.emit.cuda.module import module_text
from graphc.emit.cuda.program import CudaKernel, CudaProgram, Training
from graphc.emit.cuda.steps import StepPrinter
from graphc.emit.text import Text
from graphc.lower.stages import Group
from graphc.lower.tiers import LANES, Choice, method_of, stages_for

STATIC = 47 * 1024  # bytes of shared memory whose size a kernel may name
BYTES = {"float32": 4, "float64": 8}


def training_kernel(training: Training, choice: Choice) -> CudaProgram:
    """``train``: many steps in one launch."""
    return _Persistent(training, choice).program(training.name)


class _Persistent:
    def __init__(self, training: Training, choice: Choice) -> None:
        step, rule, dtype = training.step, training.rule, training.dtype
        self.step, self.rule, self.dtype, self.metrics = step, rule, dtype, list(training.metrics)
        self.choice, self.tolerance, self.alone = choice, training.tolerance, choice.tier == "A"
        self.text = Text(depth=0)
        self.capacity = capacity_of(step)
        self.memory = memory_of(step, len(rule.states))
        self.places = Places(step.plan.buffers, self.memory, self.capacity)
        self.stages = stages_for(step.plan, choice.tier, blas=False)
        team = one_block() if self.alone else _many_blocks()
        self.groups = GroupPrinter(self.text, self.places, team, self._method, training.captions, dtype)
        flags = "F" if self.alone else "S"
        self.parts = StepPrinter(self.text, self.places, step, rule, self.groups, flags)
        self.flags = flags

    def _method(self, group: Group) -> str:
        return method_of(group.head, self.choice.tier, self.capacity, blas=False)

    # ------------------------------------------------------------------ the module
    def program(self, name: str) -> CudaProgram:
        arguments = self._arguments()
        with self.text.block(f"def train({', '.join(n for n, _ in arguments)}):"):
            self._kernel()
        dynamic = self.memory.size * BYTES[self.dtype] if self.alone and not self._static else 0
        kernel = CudaKernel(
            "train", arguments, self.choice.threads, "copies" if self.alone else "many", dynamic, not self.alone
        )
        title = f"{name}: training, tier {self.choice.tier}"
        constants = {"SHARED": self.memory.size if self._static else 0} if self.alone else {}
        text = module_text(title, self.dtype, constants | self.places.constants, self.text.lines)
        return CudaProgram(name, text, self.dtype, self.choice.tier, (kernel,), ("train",))

    @property
    def _static(self) -> bool:
        """Whether the kernel may name the size of its shared memory."""
        return self.memory.size * BYTES[self.dtype] + 4 * (self.memory.integers + 2 * LANES) <= STATIC

    @property
    def _lanes(self) -> int:
        """Elements of shared memory for reductions."""
        if self.tolerance or self.rule.needs_norm or self.rule.reduces:
            return LANES
        return widest_lanes([g for groups in self.stages for g in groups], self._method, self.capacity)

    def _arguments(self) -> tuple[tuple[str, str], ...]:
        number = f"{self.dtype}*"
        own = [("P", number)] if self.alone else [("M", number), ("L", "int32*"), ("S", "int32[]")]
        shared = [("K", number), ("C", "int32*"), ("R", "uint64*"), ("H", number), ("E", number), ("T", "float64*"),
                  ("B", "float64*"), ("Q", number)]  # fmt: skip
        counts = [(n, "uint32") for n in ("first_copy", "epochs_ahead", "steps_ahead")]
        data = [(i.pointer, "int32*" if i.integer else number) for i in self.step.inputs]
        return (*own, *shared, *of_draws(self.step), *counts, *data)

    # ------------------------------------------------------------------ the kernel
    def _kernel(self) -> None:
        add = self.text.add
        add('"""Many steps in one launch: order of the rows, batch, forward, backward, update, log."""')
        self._shared_arrays()
        add("thread = U(cuda.threadIdx.x)", "threads = U(cuda.blockDim.x)")
        if self.alone:
            add("copy = U(first_copy + U(cuda.blockIdx.x))")
        else:
            add("block = U(cuda.blockIdx.x)", "blocks = U(cuda.gridDim.x)", "copy = U(0)")
            add("me = U(U(block*threads) + thread)", "team = U(blocks*threads)", "tick = int32(0)")
        self._words()
        self._load()
        with self.text.block("while done < n_steps:"):
            self._step()
        self._store()

    def _shared_arrays(self) -> None:
        add = self.text.add
        if self.alone:
            add("M = cuda.shared.array(SHARED, f)", f"L = cuda.shared.array({max(self.memory.integers, 1)}, int32)")
            add(f"F = cuda.shared.array({control.SIZE}, int32)")
        lanes = self._lanes
        if lanes:
            add(f"G = cuda.shared.array({lanes}, f)")
        if any(self._method(g) == "tiles" for groups in self.stages for g in with_steps(groups, self._method)):
            part = DEPTH * (TILE + 1)
            add(f"TA = cuda.shared.array({part}, f)", f"TB = cuda.shared.array({part}, f)")
            add(f"TC = cuda.shared.array({TILE * TILE}, f)")

    def _words(self) -> None:
        word = lambda w: f"U(C[{u(plus('words', w))}])"
        self.text.add(
            f"words = U(copy*U({control.SIZE}))",
            f"rows = {word(control.ROWS)}",
            f"n_steps = {word(control.STEPS)}",
            f"at = {word(control.POSITION)}",
            f"shuffle = {word(control.SHUFFLE)}",
            f"ends = {word(control.ENDS)}",
            f"record = {word(control.RECORD)}",
            f"log = {word(control.LOG)}",
            f"order = U({word(control.ORDER)}*epochs_ahead)",
            f"table = U({word(control.TABLE)}*steps_ahead)",
            "done = U(0)",
            "epochs = U(0)",
            "status = int32(0)",
        )
        self.parts.shuffle_constants()
        self.parts.load_fixed("copy")
        self.parts.draws.words("copy")
        for t in range(self._width):
            self.text.add(f"{_total(t)} = T[{u(plus(times('copy', self._width), t))}]")

    @property
    def _width(self) -> int:
        """Totals of an epoch: weight, loss, metrics."""
        return 2 + len(self.metrics)

    def _load(self) -> None:
        """Parameters and states into shared memory, zeros into the rest."""
        add, m = self.text.add, self.memory
        if self.alone:
            self.groups.lanes(m.kept, lambda: add(f"M[e] = P[U(U(copy*U({m.kept})) + e)]"))
            self.groups.strided("e", m.size, f"U(thread + U({m.kept}))", "threads", lambda: add("M[e] = f(0.0)"))
            self.groups.lanes(control.SIZE, lambda: add("F[e] = int32(0)"))
        self.groups.team.barrier(self.text)

    def _store(self) -> None:
        """Parameters and states back, and how the launch ended."""
        add, m = self.text.add, self.memory
        if self.alone:
            add("cuda.syncthreads()")
            self.groups.lanes(m.kept, lambda: add(f"P[U(U(copy*U({m.kept})) + e)] = M[e]"))
        with self.text.block(f"if {self.groups.team.me} == U(0):"):
            for t in range(self._width):
                add(f"T[{u(plus(times('copy', self._width), t))}] = {_total(t)}")
            values = {"STATUS": "status", "DONE": "int32(done)", "POSITION": "int32(at)", "EPOCHS": "int32(epochs)"}
            for word, value in values.items():
                add(f"C[{u(plus('words', getattr(control, word)))}] = {value}")

    def _step(self) -> None:
        barrier = lambda: self.groups.team.barrier(self.text)
        if self.step.batch:
            self.parts.count()
        else:
            self.text.add("count = U(1)")
        if self.parts.batched:
            self.parts.epoch_keys("U(order + epochs)")
            if self.alone:
                self.parts.order()
                barrier()
            self.parts.gather(known=self.alone)
        self.parts.draws.print()
        if self.parts.batched or self.step.draws:
            barrier()
        for groups in self.stages:
            for group in groups:
                self.groups.print(group)
            barrier()
        self._before_update(barrier)
        self.parts.load_scalars("U(table + done)")
        for part, (elements, reductions) in self.parts.early_passes:
            self.parts.early_pass(part, elements)
            barrier()
            for target, body in reductions:
                self.parts.reduction(part, target, body)
                barrier()
        self.parts.update()
        if self.parts.has_norms:
            barrier()
            self.parts.constrained_norms()
        with self.text.block(f"if {self.groups.team.me} == U(0):"):
            self.parts.books(["loss", *self.metrics], _total, "U(log + done)")
        barrier()
        self._ended()

    def _before_update(self, barrier) -> None:
        if self.tolerance:
            self.parts.largest()
        if self.rule.needs_norm:
            self.parts.norm()
            barrier()

    def _ended(self) -> None:
        """A step with a bad number ends the launch; the host goes back to before it."""
        add = self.text.add
        read = (lambda w: f"F[{w}]") if self.alone else (lambda w: f"acquire(S, {u(w)})")
        for word, verdict in ((control.BAD_GRADIENT, status.NONFINITE), (control.BAD_UPDATE, status.OVERFLOW)):
            with self.text.block(f"if status == int32(0) and {read(word)} != int32(0):"):
                add(f"status = int32({verdict})")
        with self.text.block("if status != int32(0):"):
            add("break")
        add("done = U(done + U(1))", "at = U(at + count)")
        with self.text.block("if at >= rows:"):
            add("at = U(0)")
            with self.text.block(f"if ends != U(0) and {self.groups.team.me} == U(0):"):
                self.parts.close_epoch(self._width, _total, "U(U(copy*epochs_ahead) + epochs)")
            add("epochs = U(epochs + ends)")
            if self.tolerance:
                with self.text.block("if ends != U(0):"):
                    self._tolerance_test()

    def _tolerance_test(self) -> None:
        add, extras = self.text.add, self.memory.extras
        with self.text.block(f"if M[{extras + LARGEST}] <= M[{extras + TOLERANCE}]:"):
            add(f"status = int32({status.CONVERGED})")
        self.groups.team.barrier(self.text)
        with self.text.block(f"if {self.groups.team.me} == U(0):"):
            add(f"M[{extras + LARGEST}] = f(0.0)")
        with self.text.block("if status != int32(0):"):
            add("break")


def _total(t: int) -> str:
    """What the first thread keeps of an epoch."""
    return f"total_{t}"


def _many_blocks() -> Team:
    return Team("me", "team", "block", "blocks", _grid_barrier)


def _grid_barrier(text: Text) -> None:
    """A count of arrivals that only grows: the last block's arrival lets all go on.

    The arrival of a block's first thread publishes what all its threads wrote, which met before; what it then reads of
    the count makes what other blocks published visible to them (PTX ISA, memory consistency model: causality order).
    """
    text.add("cuda.syncthreads()", "tick = int32(tick + int32(blocks))")
    with text.block("if thread == U(0):"):
        text.add(f"arrive(S, {u(control.BARRIER)})")
        with text.block(f"while acquire(S, {u(control.BARRIER)}) < tick:"):
            text.add("pass")
    text.add("cuda.syncthreads()")
