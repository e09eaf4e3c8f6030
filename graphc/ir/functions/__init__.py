"""The declarations of all scalar functions; a file imports only from those before it.

choices, elementary, smooth, words.
"""

from graphc.ir.functions import choices, elementary, smooth, words  # noqa: F401  importing them fills the table
