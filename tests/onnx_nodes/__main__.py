"""Prints the page of ONNX's operators again."""

from tests.onnx_nodes.case import all_cases
from tests.onnx_nodes.table import PAGE, page

PAGE.write_text(page(all_cases()), encoding="utf-8")
