"""The stages tied together: it decides nothing itself. ``graphc.model`` is its public face."""
