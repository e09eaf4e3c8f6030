"""What a model shows of itself: formulas, programs, pictures, certificates. The public face of ``show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphc.declare.names import node_text
from graphc.declare.origin import advised, located
from graphc.declare.tensor import Tensor
from graphc.facade import deriving
from graphc.facade.arguments import Stage, Target, data_by_name
from graphc.facade.core import Core
from graphc.late import late
from graphc.optim import Curvature, Rule
from graphc.run.turns import in_turn
from graphc.show.derivation import Derivation

if TYPE_CHECKING:
    from graphc.facade import certifying, inspecting, picturing, reporting, summary
    from graphc.facade import landscape as landscapes
    from graphc.facade.certifying import Certificate, Ranges
    from graphc.facade.landscape import Landscape, Runs
    from graphc.show.diagram.picture import Picture
    from graphc.show.explain import Page
else:
    certifying, inspecting, landscapes, picturing, reporting, summary = (
        late(f"graphc.facade.{name}")
        for name in ("certifying", "inspecting", "landscape", "picturing", "reporting", "summary")
    )


class Readable:
    """The part of :class:`graphc.Model` that is read and looked at."""

    _core: Core

    @property
    def name(self) -> str:
        """What generated programs and errors call it."""
        return self._core.name

    @located
    @in_turn
    def derive(self, *wrt: Tensor | str) -> Derivation:
        """The chain rule, line by line; print it.

        Parameters
        ----------
        *wrt : Tensor or str
            Parameters or their names; all of them by default.
        """
        self._core.needs_loss()
        return deriving.derivation(self._core, wrt)

    @located
    @in_turn
    def explain(self, stage: Stage = "formula", target: Target = "cpu") -> Page:
        """What a stage made of the model, as a page that prints.

        Parameters
        ----------
        stage : "formula", "gradient", "rewritten", "kernels", "plan" or "source"
        target : "cpu" or "cuda"
        """
        return inspecting.explain(self._core, stage, target)

    @located
    @in_turn
    def source(self, optimizer: str | Rule | Curvature = "sgd", batch_size: int = 32, target: Target = "cpu") -> str:
        """The text of the training program, as it is compiled: of the last fit, else for these arguments. Of an
        optimizer with curvature its own, then those of the programs that it calls.

        Parameters
        ----------
        optimizer : Rule, curvature or str
        batch_size : int
        target : "cpu" or "cuda"
        """
        return inspecting.source(self._core, optimizer, batch_size, target)

    @advised(data_by_name)
    @in_turn
    def check(self, *data: Any, rows: int = 8) -> inspecting.GradientCheck:
        """The gradient against finite differences and the reference interpreter, in one table.

        Parameters
        ----------
        *data : arrays in the order of declaration, or one dict by name
        rows : int
            How many rows of them are looked at.
        """
        return inspecting.check(self._core, data, rows)

    @advised(data_by_name)
    @in_turn
    def landscape(
        self,
        *data: Any,
        size: int = 51,
        along: Any = "random",
        reach: Any = None,
        runs: Runs = None,
        seed: int = 0,
        threads: int | None = None,
        verify: bool = True,
    ) -> Landscape:
        """Loss and metrics over a plane or a line of parameters in one native call; ``.plot(path)`` draws it.

        Parameters
        ----------
        *data : arrays in the order of declaration, or one dict by name
        size : int
            Points along each axis.
        along : str, tuple of str, or Model
            ``"random"``: two filter-normalised random directions (Li et al. 2018); ``"path"``: the plane of the two
            principal components of ``runs``, else of the last run; ``"hessian"``: the two leading eigenvectors of the
            Hessian; ``("W0[0, 1]", "B0[2]")``: two elements, or one; another model: the straight line to it.
        reach : float or pair of float, optional
            How far from these parameters it goes along each direction, for an element from its value.
        runs : Run or dict of Runs by name, optional
            With ``callbacks=[gc.Trajectory()]``; drawn over the plane, which holds them when ``reach`` is left out.
        seed : int
            Of the random directions.
        threads, verify : as for :meth:`fit`
        """
        line = (along.name, along._core.params) if isinstance(along, Readable) else along
        return landscapes.landscape(self._core, data, line, size, reach, runs, seed, threads, verify)

    @located
    @in_turn
    def certificate(self, bound: float = 10.0, ranges: Ranges = None, rows: int = 100_000) -> Certificate:
        """Where the model is not smooth or not defined, and where float32 or float64 may overflow; print it.

        Parameters
        ----------
        bound : float
            Inputs and parameters lie between -bound and bound.
        ranges : dict of (low, high) by name, optional
            Of inputs and parameters that lie elsewhere: ``{"T": (0, 1)}``.
        rows : int
            There are no more rows.
        """
        return certifying.certificate(self._core, bound, ranges, rows)

    @located
    def graph(self, by_layer: bool | None = None) -> Picture:
        """Forward and backward as boxes with formulas; print it, ``.save("graph.svg")``, or let a notebook draw it.

        Parameters
        ----------
        by_layer : bool, optional
            A box for every layer instead of every equation; left out, that is so for more than 40 boxes.
        """
        return picturing.graph(self._core, by_layer)

    @located
    @in_turn
    def report(self, path: str | Path) -> None:
        """Write one HTML page: graph, derivation with its rules, stability, certificate, curves, plan, program.

        It asks for nothing outside it; formulas are MathML; it follows light and dark, and prints.

        Parameters
        ----------
        path : str or Path
        """
        reporting.report(self._core, Path(path))

    def __repr__(self) -> str:
        params = ", ".join(node_text(leaf) for leaf in self._core.param_leaves)
        return f"<Model {self.name}: {params or 'no parameters'}, {self._core.dtype}>"

    def __str__(self) -> str:
        return str(summary.model_page(self._core))

    def _repr_html_(self) -> str:
        return summary.model_page(self._core)._repr_html_()
