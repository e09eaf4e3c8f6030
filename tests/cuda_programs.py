"""Small CUDA programs for the tests of the machines: loops in strides of a block, barriers, a counter, copies."""

from __future__ import annotations

from graphc.emit.cuda.program import CudaKernel, CudaProgram

SAXPY = '''
"""y += a*x, and how many blocks there were."""

THREADS = 32


def saxpy(x, y, counter, a, n):
    thread = U(cuda.threadIdx.x)
    i = U(U(U(cuda.blockIdx.x)*U(cuda.blockDim.x)) + thread)
    while i < n:
        y[i] = y[i] + a*x[i]
        i = U(i + U(U(cuda.gridDim.x)*U(cuda.blockDim.x)))
    cuda.syncthreads()
    if thread == U(0):
        arrive(counter, U(0))
        while acquire(counter, U(0)) < int32(1):
            pass
'''

TURN = '''
THREADS = 16


def turn(p, rate, first_copy):
    copy = U(first_copy + U(cuda.blockIdx.x))
    s = cuda.shared.array(0, float32)
    i = U(cuda.threadIdx.x)
    while i < U(10):
        s[i] = math.tanh(p[U(U(copy*U(10)) + i)]*rate[copy])
        i = U(i + U(cuda.blockDim.x))
    cuda.syncthreads()
    i = U(cuda.threadIdx.x)
    while i < U(10):
        p[U(U(copy*U(10)) + i)] = s[U(U(9) - i)]
        i = U(i + U(cuda.blockDim.x))


def mix(words, n):
    """x*2654435761 + (x >> 13), rotated by 7, in 32 bits."""
    i = U(cuda.threadIdx.x)
    while i < n:
        x = U(words[i])
        x = U(U(x*U(2654435761)) + U(x >> U(13)))
        words[i] = uint64(U(U(x << U(7)) | U(x >> U(25))))
        i = U(i + U(cuda.blockDim.x))
'''

SAXPY_ARGUMENTS = (("x", "float32*"), ("y", "float32*"), ("counter", "int32[]"), ("a", "float32"), ("n", "uint32"))
TURN_ARGUMENTS = (("p", "float32*"), ("rate", "float32*"), ("first_copy", "uint32"))


def saxpy(**how: object) -> CudaProgram:
    """y += a*x on many blocks; ``how`` changes the kernel."""
    return program(SAXPY, CudaKernel("saxpy", SAXPY_ARGUMENTS, 32, "many", **how))  # type: ignore[arg-type]


def turn() -> CudaProgram:
    """A kernel on copies with dynamic shared memory, and one of integers."""
    mix = CudaKernel("mix", (("words", "uint64*"), ("n", "uint32")), 16)
    return program(TURN, CudaKernel("turn", TURN_ARGUMENTS, 16, "copies", shared=40), mix)


def program(text: str, *kernels: CudaKernel) -> CudaProgram:
    """A program of these kernels."""
    return CudaProgram("test", text, "float32", "C", kernels)
