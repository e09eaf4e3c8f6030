"""Threads with small stacks: what needs more room runs in a thread of its own, with the same results and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from graphc.native import stack

SMALL = 512 * 1024


def in_small_thread(work: Callable[[], Any]) -> Any:
    """What work returns in a thread with half a megabyte of stack."""
    found: list[Any] = []
    before = threading.stack_size(SMALL)
    try:
        thread = threading.Thread(target=lambda: found.append(work()))
        thread.start()
        thread.join()  # it sets the size for a while as well
    finally:
        threading.stack_size(before)
    return found[0]


def asked() -> tuple[bool, int, int | None]:
    return stack.is_roomy(), threading.get_ident(), stack._size()


def test_a_small_stack_is_seen_and_work_gets_a_large_one():
    before = threading.stack_size()
    (roomy, thread, size), (inside, other, larger) = in_small_thread(lambda: (asked(), stack.with_room(asked)))
    assert not roomy and inside and thread != other and size is not None and larger is not None
    assert SMALL <= size < stack.NEEDED < larger and threading.stack_size() == before


def test_work_on_a_usual_stack_stays_where_it_is():
    assert stack.with_room(threading.get_ident) == threading.get_ident()


def test_what_work_raises_is_raised_where_it_was_asked_for():
    def work() -> str:
        with pytest.raises(ZeroDivisionError):
            stack.with_room(lambda: 1 // 0)
        return "raised"

    assert in_small_thread(work) == "raised"
