# SymPy's own annotations call most results Basic, which has no arithmetic: to the type checker its names are opaque.
from typing import Any

def __getattr__(name: str) -> Any: ...
