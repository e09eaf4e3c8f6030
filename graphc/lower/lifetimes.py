"""How long buffers live, and which results may lie where what they are computed from lay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from graphc.ir.node import Equation, Node, Read
from graphc.lower.kernels import Kernel, Nest, results_of, sources_of
from graphc.lower.layout import Buffer, Live, root_of
from graphc.lower.loop_fusion import reads_straight
from graphc.lower.phases import packed_for, rows_along


def lifetimes(
    kernels: Sequence[Kernel],
    buffers: Mapping[Node, Buffer],
    roots: Iterable[Node],
    own: Sequence[Buffer],
    shared: Mapping[int, tuple[Buffer, Buffer]],
) -> list[Live]:
    """From the phase that writes a buffer to the last that reads it: inside a phase threads do not wait.

    ``own`` live all the time, the ``roots`` to the end; ``shared`` are the results of :func:`overwriting`.
    """
    last = max((k.phase for k in kernels), default=0) + 1
    written: dict[int, tuple[Buffer, int]] = {}
    used: dict[int, int] = {}
    for kernel in kernels:
        for result in results_of(kernel):
            written.setdefault(id(result), (result, kernel.phase))
        for source in sources_of(kernel):
            used[id(root_of(buffers[source]))] = kernel.phase
        for packed in packed_for(kernel):
            used[id(packed)] = kernel.phase
    for root in roots:
        used[id(root_of(buffers[root]))] = last
    requests = {id(b): Live(b, 0, last) for b in own}
    for key, (buffer, phase) in written.items():
        if buffer.region == "A" and key not in shared:
            requests[key] = Live(buffer, phase, used.get(key, phase))
    for key, (_, root) in shared.items():
        requests[id(root)].end = max(requests[id(root)].end, used.get(key, 0))
    return list(requests.values())


def overwriting(
    kernels: Sequence[Kernel], buffers: Mapping[Node, Buffer], roots: Iterable[Node], own: Sequence[Buffer]
) -> dict[int, tuple[Buffer, Buffer]]:
    """Elementwise results that may overwrite what they are computed from: id -> (buffer, the one it lies in).

    The value is read for the last time, at the very element that is written, by the thread that wrote it.
    """
    readers: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        for s in sources_of(kernel):
            readers.setdefault(id(buffers[s]), []).append(kernel)
    written = {id(b) for kernel in kernels for b in results_of(kernel)}
    keep = {id(buffers[root]) for root in roots} | {id(b) for b in own}
    found: dict[int, tuple[Buffer, Buffer]] = {}
    for kernel, y, out in _elementwise(kernels):
        for read in y.reads:
            source = buffers.get(read.node)  # none for the top of a row where only its exponentials are stored
            if source is None or id(source) not in written or id(source) in keep:
                continue
            ours = out.region == source.region == "A"
            if ours and _reads_last(kernel, readers.get(id(source), [])) and _at_same_place(y, read):
                found[id(out)] = (out, found.get(id(source), (source, source))[1])
                break
    return found


def _elementwise(kernels: Sequence[Kernel]) -> Iterator[tuple[Nest, Equation, Buffer]]:
    """The elementwise results that threads divide by rows; the exponentials of a row are computed behind all else that
    a logsumexp reads."""
    for kernel in kernels:
        if isinstance(kernel, Nest) and kernel.share == "rows":
            if kernel.how == "map":
                yield kernel, kernel.equation, kernel.out
            if kernel.terms is not None:
                yield kernel, kernel.terms.node, kernel.terms.out


def _reads_last(kernel: Kernel, readers: Sequence[Kernel]) -> bool:
    """True when nobody reads after the kernel, nor beside it in another thread."""
    beside = lambda r: r.share == "rows" and rows_along(r) == rows_along(kernel)
    return bool(readers) and readers[-1] is kernel and all(beside(r) or r.phase < kernel.phase for r in readers)


def _at_same_place(y: Equation, read: Read) -> bool:
    """True when element i of the result reads element i of the node, and the node is read nowhere else."""
    return reads_straight(y, read) and sum(r.node is read.node for r in y.reads) == 1
