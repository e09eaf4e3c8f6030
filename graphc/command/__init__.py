"""The command line: explain, report and bench a model of a file, and the cache of compiled code."""
