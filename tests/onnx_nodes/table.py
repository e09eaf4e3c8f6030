"""All operators that have words, the cases that are left out, and the page that tells of both."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.onnx_nodes import arrays, elementwise, networks
from tests.onnx_nodes.case import Case
from tests.onnx_nodes.elementwise import Operator

MODULES = (elementwise, arrays, networks)
OPERATORS: dict[str, Operator] = {**elementwise.ELEMENTWISE, **arrays.ARRAYS, **networks.NETWORKS}
PAGE = Path(__file__).parent.parent.parent / "docs" / "onnx_operators.md"

LEFT_OUT: dict[str, list[str]] = {
    "a tensor has at least one element along every axis": [
        "reduce_l1_empty_set", "reduce_l2_empty_set", "reduce_log_sum_empty_set", "reduce_log_sum_exp_empty_set",
        "reduce_max_empty_set", "reduce_max_empty_set_bool", "reduce_min_empty_set", "reduce_prod_empty_set",
        "reduce_sum_empty_set", "reduce_sum_empty_set_non_reduced_axis_zero", "reduce_sum_square_empty_set",
        "reshape_allowzero_reordered", "slice_start_out_of_bounds", "split_zero_size_splits_opset13",
        "split_zero_size_splits_opset18", "tril_zero", "triu_zero",
    ],
    "labels below 0, or beyond the number after the last class, are refused: `np.where(t < 0, classes, t)`": [
        "nllloss_NCd1_mean_weight_negative_ii", "nllloss_NCd1d2d3_none_no_weight_negative_ii",
        "nllloss_NCd1d2d3_sum_weight_high_ii", "sce_NCd1_mean_weight_negative_ii",
        "sce_NCd1_mean_weight_negative_ii_log_prob", "sce_NCd1d2d3_none_no_weight_negative_ii",
        "sce_NCd1d2d3_none_no_weight_negative_ii_log_prob", "sce_NCd1d2d3_sum_weight_high_ii",
        "sce_NCd1d2d3_sum_weight_high_ii_log_prob",
    ],
    "`max_pool` does not give the places of its largest elements": [
        "maxpool_with_argmax_2d_precomputed_pads", "maxpool_with_argmax_2d_precomputed_strides",
    ],
    "tensors hold numbers, not text": ["equal_string", "equal_string_broadcast"],
}  # fmt: skip
REASON = {name: reason for reason, names in LEFT_OUT.items() for name in names}


def words_of(operator: str) -> list[str]:
    """The names of graphc that an operator is written with, as its entry and the functions it names show."""
    for module in MODULES:
        tree = ast.parse(inspect.getsource(module))
        functions = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef | ast.ClassDef)}
        entries = [d for d in ast.walk(tree) if isinstance(d, ast.Dict) and len(d.keys) > 15]
        for key, value in zip(entries[0].keys, entries[0].values):
            if isinstance(key, ast.Constant) and key.value == operator:
                return sorted(set(_names(value, functions, set())))
    raise KeyError(operator)


def _names(tree: ast.AST, functions: dict[str, ast.FunctionDef | ast.ClassDef], seen: set[str]) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := _public(node)):
            yield name
        if isinstance(node, ast.Name) and node.id in functions and node.id not in seen:
            seen.add(node.id)
            yield from _names(functions[node.id], functions, seen)


def _public(node: ast.Attribute) -> str:
    """``nn.GRU`` of gc.nn.GRU, nothing of other attributes and of namespaces alone."""
    if isinstance(node.value, ast.Name) and node.value.id == "gc":
        return "" if node.attr in ("nn", "losses", "linalg") else node.attr
    inner = node.value
    if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "gc":
        return f"{inner.attr}.{node.attr}" if inner.attr in ("nn", "losses", "linalg") else ""
    return ""


def page(cases: list[Case]) -> str:
    """The operators, the words of graphc for each, and how many of ONNX's cases are right."""
    every = Counter(c.operator for c in cases)
    right = Counter(c.operator for c in cases if c.operator in OPERATORS and c.name not in REASON)
    of = sum(every[o] for o in OPERATORS)
    lines = [
        "# ONNX's operators",
        "",
        f"{len(OPERATORS)} operators of ONNX in graphc's words.  The package `onnx` brings a test case of one node for",
        f"everything that an operator may do; of the {of} cases of these operators {sum(right.values())} give ONNX's",
        "values, computed by the interpreter in float64 and compared in the precision of ONNX's type.",
        "`tests/onnx_nodes` holds how each is written, `tests/test_onnx_nodes.py` compares them, and",
        "`python -m tests.onnx_nodes` prints this page.",
        "",
        "| operator | written with | right | of |",
        "|---|---|---|---|",
    ]
    shown = lambda names: ", ".join(f"`{n}`" for n in names) or "an operator or a method"
    lines += [f"| {o} | {shown(words_of(o))} | {right[o]} | {every[o]} |" for o in sorted(OPERATORS)]
    lines += ["", "## Left out", "", "Cases of these operators that graphc does not take, and why:", ""]
    lines += [f"- {reason}: {', '.join(names)}." for reason, names in LEFT_OUT.items()]
    others = ", ".join(sorted(set(every) - set(OPERATORS)))
    lines += ["", "## Operators without words", "", f"{others}.", ""]
    lines += ["Most are no mathematics of networks (text, sequences, images, casts, bits, quantised integers)."]
    return "\n".join(lines) + "\n"
