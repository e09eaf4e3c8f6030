"""Machine-level primitives that generated CPU code calls by name."""
