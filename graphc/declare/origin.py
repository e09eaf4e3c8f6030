"""Where the user stands: the file, line and text of the first frame outside graphc, and errors that show it."""

from __future__ import annotations

import functools
import inspect
import linecache
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, NoReturn, ParamSpec, TypeVar
from weakref import WeakSet

from graphc.declare.written import note_written
from graphc.errors import REPORT, CompilerError, DivergenceError, GraphcError, TypeMismatchError
from graphc.ir.letters import close_name
from graphc.ir.node import CELLS, Node, Origin
from graphc.words import meaning, option_hint

P = ParamSpec("P")
R = TypeVar("R")
_PACKAGE = __name__.partition(".")[0]


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_ours(module: str) -> bool:
    """True inside graphc, and inside what calls graphc back for the user: NumPy, scikit-learn and its joblib."""
    return module.partition(".")[0] in (_PACKAGE, "numpy", "sklearn", "joblib")


def caller() -> Origin | None:
    """The user's file and line that called into graphc."""
    frame = _user_frame()
    if frame is None:
        return None
    file = frame.f_code.co_filename
    if "ipykernel_" in file and file not in CELLS:
        _note_cell(file)
    return Origin(file, frame.f_lineno)


def _note_cell(file: str) -> None:
    """Ask IPython for the number of a cell; without one the cell is its file."""
    ipython = sys.modules.get("IPython")
    compiler = getattr(ipython.get_ipython() if ipython else None, "compile", None)
    number = getattr(compiler, "_filename_map", {}).get(file)
    CELLS[file] = f"In[{number}]" if number else ""


def source_text(origin: Origin | None) -> str:
    """The text of the user's line, empty when it is unknown (an interactive line, for example)."""
    return "" if origin is None else linecache.getline(origin.file, origin.line).strip()


def stamp(node: Node, of: Iterable[Node] = ()) -> Node:
    """Remember the user's line on a node that has none yet, and what it was written with."""
    if node.origin is None:
        node.origin = caller()
    note_written(node, of)
    return node


def location() -> str:
    """The user's line as errors show it: ``  at file.py:12:  source text``; empty when it is unknown."""
    origin = caller()
    if origin is None:
        return ""
    text = source_text(origin)
    return f"  at {origin}:  {text}" if text else f"  at {origin}"


def fail(error: type[GraphcError], message: str, hint: str) -> NoReturn:
    """Raise ``error``: what was asked and found, then the user's line, then one suggestion."""
    where = location()
    raise error("\n".join([message, *([where] if where else []), f"  hint: {hint}"]))


_LOCATED: WeakSet[Callable[..., Any]] = WeakSet()

Advice = Callable[[tuple[Any, ...], str], str | None]
"""What to do instead of passing an option of a name that a function does not have, given the arguments of the call."""


def located(function: Callable[P, R], advice: Advice | None = None) -> Callable[P, R]:
    """An entry of the library whose errors name the user's line, also those raised where the user is not known."""
    layers = _layers(function)

    @functools.wraps(function)
    def entry(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except GraphcError as error:
            _add_location(error)
            raise
        except TypeError as error:
            if _depth(error) > layers:
                raise
        except AssertionError as error:
            place = _own_place(error)
            if place is None:
                raise
            message = f"internal defect: {str(error) or 'an assumption failed'} at {place}\n  hint: {REPORT}"
            raise CompilerError(message) from error
        refuse_arguments(function, args, kwargs, advice)  # the call itself failed

    _LOCATED.add(entry)
    return entry


def _layers(function: Any) -> int:
    """How many functions stand around the one that was written, itself counted."""
    return 1 + (_layers(function.__wrapped__) if hasattr(function, "__wrapped__") else 0)


def _depth(error: BaseException) -> int:
    """How many calls lie between where an error is caught and where it was raised; 1 where the call itself failed."""
    depth, trace = 0, error.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    return depth


def is_located(function: Callable[..., Any]) -> bool:
    """Whether a function is such an entry."""
    return function in _LOCATED


def advised(advice: Advice) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """:func:`located`, with advice about options that do not exist."""
    return lambda function: located(function, advice)


def refuse_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any], advice: Advice | None = None
) -> NoReturn:
    """Say which argument does not fit the parameters of a function: Python's own message names nothing near it."""
    signature = inspect.signature(function)
    whole = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [n for n, p in signature.parameters.items() if p.kind in whole]
    known, open_ = [n for n in names if n != "self"], [n for n in names[len(args) :] if n != "self"]
    name = function.__name__ if function.__name__ != "__init__" else type(args[0]).__name__
    for option in options:
        if option not in known:
            hint = (advice and advice(args, option)) or option_hint(option, known) or close_name(option, open_ or known)
            fail(TypeMismatchError, f"{name}: there is no option {option!r}", hint)
    other = meaning(name)
    none = f"it has no parameters; elsewhere the name stands for {other}." if other else "it has no parameters."
    hint = f"its parameters are {', '.join(known)}." if known else none
    fail(TypeMismatchError, f"{name}: {_misfit(signature, args, options)}", hint)


def _misfit(signature: inspect.Signature, args: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        return str(error)
    return "the arguments do not fit"


def _own_place(error: BaseException) -> str | None:
    """Where in graphc an exception was raised; None when that was in a function of the user that graphc called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return f"{module}:{trace.tb_lineno}" if trace is not None and module.partition(".")[0] == _PACKAGE else None


def _add_location(error: GraphcError) -> None:
    text = str(error.args[0]) if error.args else ""
    where = location()
    if "\n  at " in text or not where or isinstance(error, DivergenceError):
        return
    message, hint, suggestion = text.partition("\n  hint: ")
    error.args = (f"{message}\n{where}{hint}{suggestion}", *error.args[1:])
