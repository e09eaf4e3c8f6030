# The IR builder's methods are made by decorators that hide their parameters: to the type checker its names are opaque.
from typing import Any

def __getattr__(name: str) -> Any: ...
