"""The tier of a training step: the one expected to be fastest, of those that were seen right on such a GPU."""

from __future__ import annotations

from dataclasses import replace

from graphc.lower.device import Device
from graphc.lower.expected import Update, expected_step, microseconds
from graphc.lower.plan import Plan
from graphc.lower.tiers import RESERVED, Choice, Tier, elements_of, power_of_two
from graphc.lower.verified_tiers import tiers_seen, tiers_seen_anywhere

MANY = 8  # copies that share the device: then a block each is best for whatever fits into one
DOMINANT = 300.0  # µs of a step above which a launch of its own costs nothing
PER_PROCESSOR = 8  # blocks of a launched kernel that a multiprocessor holds: loads of one hide behind those of others


def choose_tier(
    plan: Plan, update: Update, memory: int, itemsize: int, device: Device, want: Tier | None = None, copies: int = 1
) -> Choice:
    """The tier of a training step.

    Parameters
    ----------
    memory
        Elements of everything that a step touches.
    want
        A tier to take whatever the plan says, for tests and comparisons.
    copies
        Networks that are trained side by side.
    """
    fits = memory * itemsize + RESERVED <= device.shared
    if want:
        chosen = _timed(want, plan, update, itemsize, device)
        return replace(chosen, reason=f"as asked; {chosen.microseconds:.3g} µs a step expected")
    allowed = tiers_seen(device.capability) or tiers_seen_anywhere()
    possible: list[Tier] = [t for t in ("A", "B", "C") if (fits or t != "A") and (t in allowed or t == "C")]
    if fits and copies >= MANY:
        possible = ["A"]
    timed = sorted((_timed(t, plan, update, itemsize, device) for t in possible), key=lambda c: c.microseconds)
    best, *others = timed
    if best.tier == "C" and best.microseconds > DOMINANT and device.blas:
        best = replace(best, tier="D", note=_doubt("D", device))
    rest = "".join(f", {c.microseconds:.3g} in tier {c.tier}" for c in others)
    return replace(best, reason=f"{best.microseconds:.3g} µs a step expected{rest}")


def _timed(tier: Tier, plan: Plan, update: Update, itemsize: int, device: Device) -> Choice:
    """A tier with the launch that it needs and what a step is expected to take."""
    widest = max([update.kept, *(elements_of(k, plan.capacity) for k in plan.kernels)])
    threads = power_of_two(widest // 2, 64, 512) if tier == "A" else 256
    most = device.blocks * (PER_PROCESSOR if tier in ("C", "D") else 1)
    blocks = 1 if tier == "A" else max(1, min(most, -(-widest // threads)))
    choice = Choice(tier, "", threads, blocks, _doubt(tier, device), min(blocks, device.blocks))
    stages = expected_step(plan, choice, update, itemsize, device.blas)
    return replace(choice, microseconds=microseconds(stages))


def _doubt(tier: Tier, device: Device) -> str:
    """What is not known of a tier on a device, in words."""
    if tier in tiers_seen(device.capability):
        return ""
    generation = "sm_" + "".join(map(str, device.capability))
    return f"tier {tier} has not been seen right on a GPU of the generation {generation} yet; make gpu-test would tell"
