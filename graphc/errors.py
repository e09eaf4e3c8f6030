"""Every error graphc raises: each is a :class:`GraphcError` and the built-in error a Python user would expect."""

from __future__ import annotations

__all__ = [
    "BusyError",
    "CheckpointError",
    "CompileError",
    "CompilerError",
    "DataError",
    "DefectWarning",
    "DeviceError",
    "DivergenceError",
    "DomainError",
    "FormulaError",
    "GraphcError",
    "IndexNotationError",
    "MissingExtraError",
    "NameClashError",
    "NonDifferentiableError",
    "ShapeError",
    "TypeMismatchError",
    "UnknownNameError",
]


def __dir__() -> list[str]:
    return sorted(__all__)


REPORT = "this is a fault of graphc, not of your program; please report it with the declaration"


class GraphcError(Exception):
    """Base of all errors of graphc."""


class ShapeError(GraphcError, ValueError):
    """Two extents that must agree do not."""


class IndexNotationError(GraphcError, ValueError):
    """An index equation leaves an index unsummed, unknown or without a range."""


class NameClashError(GraphcError, ValueError):
    """A name is taken twice in one model, or is no valid identifier."""


class BusyError(GraphcError, RuntimeError):
    """A model that another thread trains just now."""


class UnknownNameError(GraphcError, KeyError):
    """A name that nothing declares: a parameter, an input, a metric, a history entry."""

    def __str__(self) -> str:  # KeyError would print the repr of its message
        return str(self.args[0]) if self.args else ""


class TypeMismatchError(GraphcError, TypeError):
    """An operand or argument of a kind that does not fit."""


class DomainError(GraphcError, ValueError):
    """A value outside the domain of a function or an argument."""


class DataError(GraphcError, ValueError):
    """Data that do not fit the declared inputs: missing, wrong shape, NaN, empty."""


class FormulaError(GraphcError, ValueError):
    """Formula text or an update rule that the formula language does not accept."""


class NonDifferentiableError(GraphcError, ValueError):
    """A jump or a function with zero gradient lies between the loss and a parameter."""


class DivergenceError(GraphcError, ArithmeticError):
    """A training step gave NaN or infinity; the parameters of the last good step are kept."""


class CompilerError(GraphcError, RuntimeError):
    """A defect of graphc: a compiled program that computes something else than the formulas, a malformed graph."""


class CompileError(CompilerError):
    """Generated code did not compile: a defect of graphc, with the generated text to report."""


class CheckpointError(GraphcError, ValueError):
    """A checkpoint that does not fit the model or cannot be read."""


class MissingExtraError(GraphcError, ImportError):
    """An optional package is needed; the text says which extra installs it."""


class DeviceError(GraphcError, RuntimeError):
    """A GPU that is asked for is not there, is too old, is full, or refused a call; the text says which."""


class DefectWarning(UserWarning):
    """A defect of graphc that changes no number, such as a formula that could not be printed."""
