"""The tests of graphc; the file names follow the package folders."""
