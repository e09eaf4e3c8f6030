"""One command for a machine with a GPU: ``python -m tests.gpu.run``.

:mod:`.run` goes through the sections and writes the page. What needs the GPU runs in child processes: checks of
:mod:`.checks` on the networks of :mod:`.networks` in a :mod:`.worker`, contestants of the timings in a :mod:`.child`.
So a crash or a hang costs one check, and the rest goes on. With ``--emulated`` everything runs on the CPU.
"""
