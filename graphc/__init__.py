"""graphc: declare a network as equations, read its exact gradient as a formula, train it with compiled code.

The way of the data, one package folder a stage; each imports only from those above it::

    declare     a Tensor expression, an index equation, or a layer        -> equations
    derive      the one differentiation rule (chain rule), any order      -> more equations
    rewrite     proven algebra: stable forms, collapse, share, fuse       -> fewer equations
    lower       phases; contractions and loop nests; schedule; memory plan
    emit        loop nests -> text: CPU, plain-Python reference
    run         text -> compiled program; the whole training run is one native call
    show        every stage prints itself: text, LaTeX, pictures, an HTML report
    interop     exported programs
    sklearn     scikit-learn estimators

The formula you read is the kernel that runs::

    X = gc.input("X", ("n", 2));  W = gc.param("W", (2, 1), gc.normal(1.0))
    model = gc.Model(loss=gc.mean((gc.tanh(X @ W) - 1)**2))
    print(model.derive(W))

Importing graphc is cheap: a public name loads its module when it is first used.
"""

import difflib
import importlib
import sys
import types

from graphc.native.gc_pause import importing

__version__ = "0.1.0"
_THIS = sys.modules[__name__]

_NAMES = {
    "declare.tensor": "Tensor",
    "declare.leaves": "input param",
    "declare.indexed": "indices define",
    "declare.functions": "function",
    "declare.from_sympy": "from_sympy",
    "declare.penalties": "l1 l2",
    "declare.init": "normal uniform zeros glorot he",
    "declare.operators": "softmax logsumexp sum mean max min prod where argmax reshape transpose concatenate stack"
    " equal matmul clip cumsum segment_sum",
    "declare.reductions": "argmin",
    "declare.softmaxes": "log_softmax softmin",
    "declare.cumulative": "cumprod logcumsumexp diff unwrap",
    "declare.statistics": "var std average ptp",
    "declare.counting": "any all count_nonzero",
    "declare.norms": "norm",
    "declare.products": "outer inner dot vdot tensordot kron cross",
    "declare.einsum": "einsum",
    "declare.diagonals": "trace diagonal diag tril triu",
    "declare.shapes": "squeeze expand_dims swapaxes moveaxis flip ravel broadcast_to zeros_like ones_like full_like"
    " meshgrid hstack vstack split",
    "declare.repeating": "roll repeat tile pad take",
    "declare.places": "take_along_axis put_along_axis",
    "declare.sorting": "sort argsort top_k",
    "declare.convolutions": "conv1d conv2d conv3d conv1d_transpose conv2d_transpose conv3d_transpose",
    "declare.pooling": "max_pool avg_pool global_avg_pool",
    "declare.normalizing": "layer_norm rms_norm group_norm",
    "declare.embedding": "one_hot embedding positional_encoding",
    "declare.attention": "attention",
    "declare.scanning": "scan",
    "declare.activations": "glu sparsemax",
    "declare.random": "dropout",
    "declare.modes": "in_train_phase state",
    "declare.random_layers": "batch_norm",
    "declare.remainders": "modf divmod frexp",
    "model": "Model averaged derive",
    "facade.calculus": "compile grad hessian hvp jacobian",
    "facade.directional": "jvp gauss_newton",
    "facade.comparing": "compare",
    "facade.deciding": "plot_decision",
    "facade.rate_finding": "find_learning_rate",
    "optim": "SGD Momentum Nesterov Adagrad RMSProp Adam AdamW rule"
    " Adadelta Adamax NAdam RAdam AMSGrad AdaBelief Yogi Rprop ASGD Lion LAMB Adafactor Muon"
    " LBFGS LevenbergMarquardt NewtonCG ConjugateGradient",
    "run.encoding": "Encoder",
    "run.callbacks": "EarlyStopping Checkpoint Trajectory",
}
_NAMESPACES = {
    "activations": "declare.activations",
    "callbacks": "run.callbacks",
    "constraints": "declare.constraints",
    "errors": "errors",
    "init": "declare.init",
    "linalg": "declare.linalg",
    "losses": "declare.losses",
    "metrics": "declare.metrics",
    "nn": "declare.nn",
    "random": "declare.random",
    "schedules": "optim.schedules",
    "special": "declare.special",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()} | _NAMESPACES
_ELEMENTWISE = "declare.pointwise"


def _elementwise() -> list[str]:
    """The functions of one element, which their table names; reading it loads SymPy."""
    with importing():
        table = importlib.import_module("graphc.ir.scalar")
    return [name for name in table.PUBLIC if "." not in name]


def __getattr__(name: str) -> object:
    """Load the module that holds a public name, once (PEP 562)."""
    if name == "__all__":
        return sorted({*_HOME, *_elementwise()})
    if name.startswith("__") or name not in _HOME and name not in _elementwise():
        raise _unknown(name)
    home = _HOME.get(name, _ELEMENTWISE)
    with importing():
        module = importlib.import_module(f"graphc.{home}")
        if home.startswith("declare."):  # what is declared can be drawn before a Model is made
            importlib.import_module("graphc.facade.attach")
    value = _leading_on(module, name) if name in _NAMESPACES else _entry(getattr(module, name))
    globals()[name] = value
    return value


def _kept(module: types.ModuleType, name: str, value: object) -> object:
    made = _entry(value)
    if made is not value:  # the names of a table may grow, what stands under one does not change
        setattr(module, name, made)
    return made


def _entry(value: object) -> object:
    """What users get of a public name: wrong arguments are answered in graphc's words."""
    return importlib.import_module("graphc.declare.entries").entry(value)


def _unknown(name: str) -> AttributeError:
    return AttributeError(f"module 'graphc' has no attribute {name!r}{_hint(name)}", name=name, obj=_THIS)


def _leading_on(module: types.ModuleType, place: str) -> types.ModuleType:
    """A namespace in which unknown names, and arguments, are answered as those of graphc are."""
    own = vars(module).get("__getattr__")
    for name in {*dir(module)} & {*vars(module)}:
        setattr(module, name, _entry(vars(module)[name]))

    def lead(name: str) -> object:
        try:
            if own is not None:
                return _kept(module, name, own(name))
        except AttributeError:
            pass
        text = f"module 'graphc.{place}' has no attribute {name!r}{_hint(name, place)}"
        raise AttributeError(text, name=name, obj=module)

    setattr(module, "__getattr__", lead)  # noqa: B010  type checkers know the names of the module itself
    return module


def _hint(name: str, place: str = "") -> str:
    """Another library's word for it, else the name that is spelled most like it, else where it is."""
    if name.startswith("__"):
        return ""
    found = importlib.import_module("graphc.words").meaning(name)
    if found is not None:
        return f"; here it is {found}"
    everywhere = [*_HOME, *_elementwise()]
    known = dir(globals()[place]) if place in globals() else everywhere
    homes = [other for other, module in _NAMESPACES.items() if other != place and name in _public(module)]
    if homes and name not in everywhere:
        return f"; here it is gc.{homes[0]}.{name}"
    swapped = [n for n in known if sorted(n.lower()) == sorted(name.lower())]  # tahn is tanh, though tan is as near
    close = swapped or difflib.get_close_matches(name, known, n=1)
    shown = f"graphc.{place}" if place else "graphc"
    spelled = [n for n in everywhere if n.lower() == name.lower()]
    if place and spelled and not swapped:
        return f"; here it is gc.{spelled[0]}"
    return f"; did you mean {shown}.{close[0]}?" if close else f"; dir({shown}) lists the public names"


def _public(module: str) -> list[str]:
    return [name for name in dir(importlib.import_module(f"graphc.{module}")) if not name.startswith("_")]


def __dir__() -> list[str]:
    return [*_HOME, *_elementwise(), "__version__"]


class _Package(types.ModuleType):
    """The package, in which ``graphc.derive`` stays the public function when the folder of that name is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, types.ModuleType) and name in _HOME and value.__name__ != f"graphc.{_HOME[name]}":
            return
        super().__setattr__(name, value)


_THIS.__class__ = _Package
