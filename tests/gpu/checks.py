"""What is checked, by name: numerics against the CPU, and bits. A check returns its figures, or raises."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

import graphc as gc
from graphc.cuda import selection
from graphc.errors import DivergenceError
from graphc.facade.devices import cuda_plan
from tests.gpu.bench import Bench, LeftOut, Wrong, require_close, require_same, run
from tests.gpu.networks import Case, cases
from tests.gpu.questions import QUESTIONS, ask

Figures = dict[str, Any]
TIERS = ("A", "B", "C", "D")
BLOCKS = (1, 4, 16)  # of tier B, beside as many as the machine has
ROUNDED = {"tf32": 5e-3, "bf16": 5e-2}  # allowed difference of losses from float32
ALWAYS = ("W1", "W2", "W3", "W9")  # in a quick run, the networks that go through every tier


@dataclass(frozen=True)
class Check:
    """One check: checks of one group share models and the training on the CPU, so one process does them."""

    section: str
    group: str
    name: str
    act: Callable[[Bench], Figures]


@cache
def checks(quick: bool, small: bool) -> dict[str, Check]:
    """All checks by name, in order."""
    found: list[Check] = []
    for case in cases(quick, small).values():
        found += _numerics_of(case, quick) + _bits_of(case, quick)
    w = cases(quick, small)
    for precision in ROUNDED:
        found.append(Check("numerics", "W4", f"W4, {precision}", partial(rounded, w["W4"], precision)))
    found += [
        Check("numerics", "SGD", "a run that diverges", partial(diverges, w["SGD"])),
        Check("numerics", "W2", "arrays of the machine in and out", partial(device_arrays, w["W2"])),
        Check("numerics", "W2", "arrays of PyTorch in and out (DLPack)", partial(torch_arrays, w["W2"])),
        Check("bits", "W10", "a copy of a sweep equals a training alone", partial(copy_alone, w["W10"])),
    ]
    small_ones = QUESTIONS if not quick else {n: q for n, q in QUESTIONS.items() if q.network in ALWAYS}
    found += [Check("questions", q.network, name, partial(ask, q, w[q.network])) for name, q in small_ones.items()]
    return {c.name: c for c in found}


def _numerics_of(case: Case, quick: bool) -> list[Check]:
    """The chosen tier with evaluation, then every tier by force, tier B with several numbers of blocks."""
    add = partial(Check, "numerics", case.name)
    found = [add(f"{case.name}: chosen tier, predict, evaluate", partial(chosen_tier, case))]
    if case.copies or (quick and case.name not in ALWAYS):
        return found
    found += [add(f"{case.name}: tier {t}", partial(compare, case, t, None)) for t in TIERS]
    if case.name.startswith("W"):
        found += [add(f"{case.name}: tier B on {n} blocks", partial(compare, case, "B", n)) for n in BLOCKS]
    return found


def _bits_of(case: Case, quick: bool) -> list[Check]:
    if not case.name.startswith("W") or (quick and case.name not in (*ALWAYS, "W10")):
        return []
    add = partial(Check, "bits", case.name)
    found = [add(f"{case.name}: the same bits twice", partial(twice, case))]
    if case.copies:
        return found
    found.append(add(f"{case.name}: in halves as in one go", partial(halves, case)))
    return [*found, add(f"{case.name}: tier B on any number of blocks", partial(any_blocks, case))]


# ------------------------------------------------------------------------------------------------------- numerics


def compare(case: Case, tier: Any, blocks: int | None, bench: Bench) -> Figures:
    """One training on the machine beside the one on the CPU."""
    if tier == "A" and not bench.chosen(case)[1]:
        raise LeftOut("does not fit into the shared memory of one block")
    wanted, found = bench.on_cpu(case), bench.train(case, "cuda", tier, blocks)
    if (found.steps, found.stopped) != (wanted.steps, wanted.stopped):
        cpu = f"on the CPU {wanted.stopped} after {wanted.steps}"
        raise Wrong(f"ended {found.stopped} after {found.steps} steps, {cpu}")
    figures: Figures = {"tolerance": case.tolerance}
    figures["losses"] = require_close("losses", found.losses, wanted.losses, case.tolerance)
    if not case.losses_only:
        figures["parameters"] = require_close("parameters", found.parameters, wanted.parameters, case.tolerance)
    return figures


def chosen_tier(case: Case, bench: Bench) -> Figures:
    """As graphc chooses by itself; then outputs and means on the machine beside the CPU's, for the same parameters."""
    figures = {"tier": bench.chosen(case)[0]} | compare(case, None, None, bench)
    if case.copies:
        return figures
    model, _ = bench.start(case)
    inputs = [case.data[str(leaf.name)] for leaf in model.inputs]
    read = {str(leaf.name): case.data[str(leaf.name)] for leaf in model._core.training_inputs}
    with selection.use(bench.machine()):
        outputs, means = model.predict(*inputs, target="cuda"), model.evaluate(read, target="cuda")
    wanted = model.evaluate(read)
    figures["predict"] = require_close("outputs", outputs, model.predict(*inputs), case.tolerance)
    figures["evaluate"] = require_close("means", list(means.values()), list(wanted.values()), case.tolerance)
    return figures


def rounded(case: Case, precision: str, bench: Bench) -> Figures:
    """Products of rounded factors: losses near those of float32, and other bits where a library multiplies."""
    if not bench.machine().device.blas:
        raise LeftOut("no cublasLt: all products are float32")
    found = bench.train(case, "cuda", "D", precision=precision)
    exact = bench.train(case, "cuda", "D")
    figures = {"losses": require_close("losses", found.losses, exact.losses, ROUNDED[precision])}
    if not bench.emulated and np.array_equal(found.parameters, exact.parameters):
        raise Wrong(f"precision={precision!r} changed no bit: it did not reach the library")
    return figures


def diverges(case: Case, bench: Bench) -> Figures:
    """DivergenceError, and the parameters of the last good step are kept."""
    wild = replace(case, options=dict(case.options) | {"optimizer": gc.SGD(1e12)})
    model = bench.fresh(wild)
    try:
        with selection.use(bench.machine()):
            model.fit(wild.data, target="cuda", **wild.options)
    except DivergenceError:
        if not np.isfinite(model.params.snapshot()).all():
            raise Wrong("parameters that are not finite were kept") from None
        return {"steps": model.last_run.steps if model.last_run else 0}
    raise Wrong("no DivergenceError")


def _placed(case: Case, bench: Bench) -> dict[str, Any]:
    """The data of a case as arrays of the machine."""
    placed = {}
    for name, values in case.data.items():
        kind = np.int32 if values.dtype.kind == "i" else np.float32
        array = bench.machine().array(values.size, kind)
        bench.machine().upload(array, values)
        placed[name] = array.reshape(*values.shape)
    return placed


def device_arrays(case: Case, bench: Bench) -> Figures:
    """Data that lie on the machine give the bits that data of the host give, and outputs that stay there."""
    placed, wanted = _placed(case, bench), bench.train(case, "cuda")
    model = bench.fresh(case)
    with selection.use(bench.machine()):
        model.fit(placed, target="cuda", **case.options)
        outputs = model.predict(placed["X"], target="cuda")
    if not np.array_equal(model.params.snapshot(), wanted.parameters):
        raise Wrong("parameters have other bits than from data of the host")
    if isinstance(outputs, np.ndarray):
        raise Wrong("outputs came back to the host")
    back = np.from_dlpack(outputs) if bench.emulated else outputs.numpy()
    return {"predict": require_close("outputs", back, model.predict(case.data["X"]), case.tolerance)}


def torch_arrays(case: Case, bench: Bench) -> Figures:
    """A tensor of PyTorch on the GPU in, an output out as a tensor there, without a copy."""
    torch = cuda_torch(bench)
    x, t = (torch.from_numpy(case.data[n]).cuda() for n in ("X", "T"))
    wanted, model = bench.train(case, "cuda"), bench.fresh(case)
    with selection.use(bench.machine()):
        model.fit(x, t.int(), target="cuda", **case.options)
        outputs = model.predict(x, target="cuda")
    tensor = torch.from_dlpack(outputs)
    if not np.array_equal(model.params.snapshot(), wanted.parameters):
        raise Wrong("parameters have other bits than from data of the host")
    if not tensor.is_cuda or tensor.data_ptr() != outputs.address:
        raise Wrong("the tensor is a copy")
    return {"predict": require_close("outputs", tensor.cpu(), model.predict(case.data["X"]), case.tolerance)}


def cuda_torch(bench: Bench) -> Any:
    """PyTorch with a GPU, in this process.

    Raises
    ------
    LeftOut
        When there is none.
    """
    if bench.emulated or importlib.util.find_spec("torch") is None:
        raise LeftOut("needs a GPU, and PyTorch in the same environment")
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise LeftOut(f"PyTorch {torch.__version__} has no CUDA")
    return torch


# ----------------------------------------------------------------------------------------------------------- bits


def twice(case: Case, bench: Bench) -> Figures:
    """The same seed, the same bits."""
    require_same("the second run", bench.train(case, "cuda"), bench.train(case, "cuda"))
    return {"tier": bench.chosen(case)[0]}


def halves(case: Case, bench: Bench) -> Figures:
    """A run in two fits, cut within an epoch, has the bits of one fit."""
    wanted = bench.train(case, "cuda")
    steps, first = case.options["steps"], case.options["steps"] // 2 - 1
    rest = {k: v for k, v in case.options.items() if k != "seed"} | {"steps": steps - first}
    model = bench.fresh(case)
    with selection.use(bench.machine()):
        a = run(model, case, case.data, dict(case.options) | {"steps": first, "target": "cuda", "record": "step"})
        b = run(model, case, case.data, rest | {"target": "cuda", "record": "step"})
    require_same("two fits", replace(b, losses=np.concatenate([a.losses, b.losses])), wanted)
    return {"cut after": first, "steps": steps}


def any_blocks(case: Case, bench: Bench) -> Figures:
    """The number of blocks changes no bit."""
    wanted = bench.train(case, "cuda", "B")
    for blocks in BLOCKS:
        require_same(f"{blocks} blocks", bench.train(case, "cuda", "B", blocks), wanted)
    with selection.use(bench.machine(), "B"):
        most = cuda_plan(bench.fresh(case)._core, case.optimizer, case.batch).choice.blocks
    return {"blocks": sorted({min(most, n) for n in (*BLOCKS, most)})}


def copy_alone(case: Case, bench: Bench) -> Figures:
    """Each copy of a sweep has the bits of the same training by itself, in the same tier."""
    together = bench.train(case, "cuda")
    rates = case.optimizer.hyper["eta"]
    chosen = (0, len(rates) // 2, len(rates) - 1)
    for place in chosen:
        rule = replace(case.optimizer, hyper=dict(case.optimizer.hyper) | {"eta": float(rates[place])})
        options = {k: v for k, v in case.options.items() if k != "seeds"} | {"optimizer": rule, "seed": 3}
        alone = bench.train(replace(case, options=options, copies=False), "cuda", "A")
        one = replace(alone, losses=together.losses[place], parameters=together.parameters[place])
        require_same(f"copy {place}", one, alone)
    return {"copies": len(rates), "compared": len(chosen)}
