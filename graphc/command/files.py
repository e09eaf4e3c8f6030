"""The model that a file declares: a Python file is run as an import runs it, a checkpoint is read."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from graphc.errors import GraphcError
from graphc.ir.letters import close_name
from graphc.model import Model

DECLARE = "at its top level: model = gc.Model(output=Y, loss=J), or a function without arguments that returns one"


class CommandError(Exception):
    """What a command cannot do, in words for the terminal."""


def model_of(path: str, name: str | None = None) -> Model:
    """The model of a file; ``name`` chooses among several, or names a function that makes one.

    Raises
    ------
    CommandError
        When the file is missing, fails, or declares no model, several, or none of that name.
    """
    file = Path(path)
    if not file.exists():
        near = difflib.get_close_matches(file.name, [f.name for f in file.parent.glob("*")], n=1)
        hint = f"\n  hint: did you mean {file.with_name(near[0])}?" if near else ""
        raise CommandError(f"{path}: there is no such file{hint}")
    if file.is_dir():
        raise CommandError(f"{path}: this is a folder\n  hint: name a Python file or a checkpoint")
    if file.suffix == ".safetensors":
        return _made(path, lambda: Model.load(file))
    if file.suffix != ".py":
        raise CommandError(f"{path}: it ends neither in .py nor in .safetensors")
    return _chosen(path, _imported(path, file), name)


def _made(path: str, make: Callable[[], Any]) -> Any:
    """What ``make`` gives; what goes wrong inside the user's file is told with its line."""
    try:
        return make()
    except GraphcError as error:
        raise CommandError(f"{path}: {error}") from error
    except SyntaxError as error:
        raise CommandError(f"{path}: line {error.lineno}: {error.msg}\n  hint: it is no Python program") from error
    except SystemExit as error:
        hint = 'put what is not the declaration under: if __name__ == "__main__":'
        raise CommandError(f"{path}: it ends the program (exit {error.code})\n  hint: {hint}") from error
    except Exception as error:  # whatever a user's file raises
        own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == Path(path).name]
        where = f"line {own[-1].lineno}: " if own else ""
        raise CommandError(f"{path}: {where}{type(error).__name__}: {error}") from error


def _imported(path: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_graphc_{abs(hash(file.resolve()))}", file.resolve())
    assert spec is not None and spec.loader is not None
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.resolve().parent))  # as python net.py does, so that it finds the files beside it
    try:
        _made(path, lambda: loader.exec_module(module))
    finally:
        sys.path.pop(0)
    return module


def _chosen(path: str, module: ModuleType, name: str | None) -> Model:
    models = {n: v for n, v in vars(module).items() if isinstance(v, Model) and not n.startswith("_")}
    makers = {n: v for n, v in vars(module).items() if _makes_one(v, module)}
    known = {**models, **makers}
    if name is not None:
        found = getattr(module, name, None)
        if not isinstance(found, Model) and not _callable(found):
            raise CommandError(f"{path}: {name!r} is no model in it\n  hint: {close_name(name, known)}")
        return found if isinstance(found, Model) else _called(path, name, found)
    if len({id(m) for m in models.values()}) == 1:
        return next(iter(models.values()))
    if models or len(makers) > 1:
        raise CommandError(f"{path}: it declares several models\n  hint: choose one: --model {' or '.join(known)}")
    if not makers:
        raise CommandError(f"{path}: it declares no model\n  hint: {DECLARE}")
    return _called(path, *next(iter(makers.items())))


def _called(path: str, name: str, make: Any) -> Model:
    found = _made(path, make)
    if not isinstance(found, Model):
        raise CommandError(f"{path}: {name}() returns {type(found).__name__}, no model\n  hint: {DECLARE}")
    return found


def _makes_one(value: Any, module: ModuleType) -> bool:
    """A function of this file without arguments that says it returns a model."""
    if not inspect.isfunction(value) or value.__module__ != module.__name__ or not _callable(value):
        return False
    returned = value.__annotations__.get("return")
    return returned is Model or (isinstance(returned, str) and returned.rsplit(".", 1)[-1] == "Model")


def _callable(value: Any) -> bool:
    """A function that can be called without arguments."""
    if not inspect.isfunction(value):
        return False
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
               for p in inspect.signature(value).parameters.values())  # fmt: skip
