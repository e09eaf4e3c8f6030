"""The public names for type checkers, printed from the table of __init__.py by docs/generate.py."""

from typing import Any

from graphc.declare import activations as activations
from graphc.declare.activations import glu as glu
from graphc.declare.activations import sparsemax as sparsemax
from graphc.declare.attention import attention as attention
from graphc.declare import constraints as constraints
from graphc.declare.convolutions import conv1d as conv1d
from graphc.declare.convolutions import conv1d_transpose as conv1d_transpose
from graphc.declare.convolutions import conv2d as conv2d
from graphc.declare.convolutions import conv2d_transpose as conv2d_transpose
from graphc.declare.convolutions import conv3d as conv3d
from graphc.declare.convolutions import conv3d_transpose as conv3d_transpose
from graphc.declare.counting import all as all
from graphc.declare.counting import any as any
from graphc.declare.counting import count_nonzero as count_nonzero
from graphc.declare.cumulative import cumprod as cumprod
from graphc.declare.cumulative import diff as diff
from graphc.declare.cumulative import logcumsumexp as logcumsumexp
from graphc.declare.cumulative import unwrap as unwrap
from graphc.declare.diagonals import diag as diag
from graphc.declare.diagonals import diagonal as diagonal
from graphc.declare.diagonals import trace as trace
from graphc.declare.diagonals import tril as tril
from graphc.declare.diagonals import triu as triu
from graphc.declare.einsum import einsum as einsum
from graphc.declare.embedding import embedding as embedding
from graphc.declare.embedding import one_hot as one_hot
from graphc.declare.embedding import positional_encoding as positional_encoding
from graphc.declare.from_sympy import from_sympy as from_sympy
from graphc.declare.functions import function as function
from graphc.declare.indexed import define as define
from graphc.declare.indexed import indices as indices
from graphc.declare.init import glorot as glorot
from graphc.declare.init import he as he
from graphc.declare import init as init
from graphc.declare.init import normal as normal
from graphc.declare.init import uniform as uniform
from graphc.declare.init import zeros as zeros
from graphc.declare.leaves import input as input
from graphc.declare.leaves import param as param
from graphc.declare import linalg as linalg
from graphc.declare import losses as losses
from graphc.declare import metrics as metrics
from graphc.declare.modes import in_train_phase as in_train_phase
from graphc.declare.modes import state as state
from graphc.declare import nn as nn
from graphc.declare.normalizing import group_norm as group_norm
from graphc.declare.normalizing import layer_norm as layer_norm
from graphc.declare.normalizing import rms_norm as rms_norm
from graphc.declare.norms import norm as norm
from graphc.declare.operators import argmax as argmax
from graphc.declare.operators import clip as clip
from graphc.declare.operators import concatenate as concatenate
from graphc.declare.operators import cumsum as cumsum
from graphc.declare.operators import equal as equal
from graphc.declare.operators import logsumexp as logsumexp
from graphc.declare.operators import matmul as matmul
from graphc.declare.operators import max as max
from graphc.declare.operators import mean as mean
from graphc.declare.operators import min as min
from graphc.declare.operators import prod as prod
from graphc.declare.operators import reshape as reshape
from graphc.declare.operators import segment_sum as segment_sum
from graphc.declare.operators import softmax as softmax
from graphc.declare.operators import stack as stack
from graphc.declare.operators import sum as sum
from graphc.declare.operators import transpose as transpose
from graphc.declare.operators import where as where
from graphc.declare.penalties import l1 as l1
from graphc.declare.penalties import l2 as l2
from graphc.declare.places import put_along_axis as put_along_axis
from graphc.declare.places import take_along_axis as take_along_axis
from graphc.declare.pointwise import abs as abs
from graphc.declare.pointwise import absolute as absolute
from graphc.declare.pointwise import acos as acos
from graphc.declare.pointwise import acosh as acosh
from graphc.declare.pointwise import add as add
from graphc.declare.pointwise import angle as angle
from graphc.declare.pointwise import arccos as arccos
from graphc.declare.pointwise import arccosh as arccosh
from graphc.declare.pointwise import arcsin as arcsin
from graphc.declare.pointwise import arcsinh as arcsinh
from graphc.declare.pointwise import arctan as arctan
from graphc.declare.pointwise import arctan2 as arctan2
from graphc.declare.pointwise import arctanh as arctanh
from graphc.declare.pointwise import around as around
from graphc.declare.pointwise import asin as asin
from graphc.declare.pointwise import asinh as asinh
from graphc.declare.pointwise import atan as atan
from graphc.declare.pointwise import atan2 as atan2
from graphc.declare.pointwise import atanh as atanh
from graphc.declare.pointwise import cbrt as cbrt
from graphc.declare.pointwise import ceil as ceil
from graphc.declare.pointwise import celu as celu
from graphc.declare.pointwise import copysign as copysign
from graphc.declare.pointwise import cos as cos
from graphc.declare.pointwise import cosh as cosh
from graphc.declare.pointwise import deg2rad as deg2rad
from graphc.declare.pointwise import degrees as degrees
from graphc.declare.pointwise import divide as divide
from graphc.declare.pointwise import elu as elu
from graphc.declare.pointwise import erf as erf
from graphc.declare.pointwise import exp as exp
from graphc.declare.pointwise import exp2 as exp2
from graphc.declare.pointwise import expm1 as expm1
from graphc.declare.pointwise import exponential as exponential
from graphc.declare.pointwise import fabs as fabs
from graphc.declare.pointwise import fix as fix
from graphc.declare.pointwise import float_power as float_power
from graphc.declare.pointwise import floor as floor
from graphc.declare.pointwise import floor_divide as floor_divide
from graphc.declare.pointwise import fmax as fmax
from graphc.declare.pointwise import fmin as fmin
from graphc.declare.pointwise import fmod as fmod
from graphc.declare.pointwise import gelu as gelu
from graphc.declare.pointwise import greater as greater
from graphc.declare.pointwise import greater_equal as greater_equal
from graphc.declare.pointwise import hard_shrink as hard_shrink
from graphc.declare.pointwise import hard_sigmoid as hard_sigmoid
from graphc.declare.pointwise import hard_silu as hard_silu
from graphc.declare.pointwise import hard_swish as hard_swish
from graphc.declare.pointwise import hard_tanh as hard_tanh
from graphc.declare.pointwise import heaviside as heaviside
from graphc.declare.pointwise import hypot as hypot
from graphc.declare.pointwise import i0 as i0
from graphc.declare.pointwise import isclose as isclose
from graphc.declare.pointwise import isfinite as isfinite
from graphc.declare.pointwise import isinf as isinf
from graphc.declare.pointwise import isnan as isnan
from graphc.declare.pointwise import isneginf as isneginf
from graphc.declare.pointwise import isposinf as isposinf
from graphc.declare.pointwise import ldexp as ldexp
from graphc.declare.pointwise import leaky_relu as leaky_relu
from graphc.declare.pointwise import less as less
from graphc.declare.pointwise import less_equal as less_equal
from graphc.declare.pointwise import log as log
from graphc.declare.pointwise import log10 as log10
from graphc.declare.pointwise import log1p as log1p
from graphc.declare.pointwise import log2 as log2
from graphc.declare.pointwise import log_sigmoid as log_sigmoid
from graphc.declare.pointwise import logaddexp as logaddexp
from graphc.declare.pointwise import logaddexp2 as logaddexp2
from graphc.declare.pointwise import logical_and as logical_and
from graphc.declare.pointwise import logical_not as logical_not
from graphc.declare.pointwise import logical_or as logical_or
from graphc.declare.pointwise import logical_xor as logical_xor
from graphc.declare.pointwise import maximum as maximum
from graphc.declare.pointwise import minimum as minimum
from graphc.declare.pointwise import mish as mish
from graphc.declare.pointwise import mod as mod
from graphc.declare.pointwise import multiply as multiply
from graphc.declare.pointwise import nan_to_num as nan_to_num
from graphc.declare.pointwise import negative as negative
from graphc.declare.pointwise import nextafter as nextafter
from graphc.declare.pointwise import not_equal as not_equal
from graphc.declare.pointwise import positive as positive
from graphc.declare.pointwise import power as power
from graphc.declare.pointwise import prelu as prelu
from graphc.declare.pointwise import rad2deg as rad2deg
from graphc.declare.pointwise import radians as radians
from graphc.declare.pointwise import reciprocal as reciprocal
from graphc.declare.pointwise import relu as relu
from graphc.declare.pointwise import relu6 as relu6
from graphc.declare.pointwise import relu_squared as relu_squared
from graphc.declare.pointwise import remainder as remainder
from graphc.declare.pointwise import rint as rint
from graphc.declare.pointwise import round as round
from graphc.declare.pointwise import selu as selu
from graphc.declare.pointwise import sigmoid as sigmoid
from graphc.declare.pointwise import sign as sign
from graphc.declare.pointwise import signbit as signbit
from graphc.declare.pointwise import silu as silu
from graphc.declare.pointwise import sin as sin
from graphc.declare.pointwise import sinc as sinc
from graphc.declare.pointwise import sinh as sinh
from graphc.declare.pointwise import snake as snake
from graphc.declare.pointwise import soft_shrink as soft_shrink
from graphc.declare.pointwise import soft_sign as soft_sign
from graphc.declare.pointwise import softplus as softplus
from graphc.declare.pointwise import softsign as softsign
from graphc.declare.pointwise import spacing as spacing
from graphc.declare.pointwise import sparse_plus as sparse_plus
from graphc.declare.pointwise import sparse_sigmoid as sparse_sigmoid
from graphc.declare.pointwise import sqrt as sqrt
from graphc.declare.pointwise import square as square
from graphc.declare.pointwise import squareplus as squareplus
from graphc.declare.pointwise import stop_gradient as stop_gradient
from graphc.declare.pointwise import subtract as subtract
from graphc.declare.pointwise import swish as swish
from graphc.declare.pointwise import tan as tan
from graphc.declare.pointwise import tanh as tanh
from graphc.declare.pointwise import tanh_shrink as tanh_shrink
from graphc.declare.pointwise import threshold as threshold
from graphc.declare.pointwise import true_divide as true_divide
from graphc.declare.pointwise import trunc as trunc
from graphc.declare.pooling import avg_pool as avg_pool
from graphc.declare.pooling import global_avg_pool as global_avg_pool
from graphc.declare.pooling import max_pool as max_pool
from graphc.declare.products import cross as cross
from graphc.declare.products import dot as dot
from graphc.declare.products import inner as inner
from graphc.declare.products import kron as kron
from graphc.declare.products import outer as outer
from graphc.declare.products import tensordot as tensordot
from graphc.declare.products import vdot as vdot
from graphc.declare.random import dropout as dropout
from graphc.declare import random as random
from graphc.declare.random_layers import batch_norm as batch_norm
from graphc.declare.reductions import argmin as argmin
from graphc.declare.remainders import divmod as divmod
from graphc.declare.remainders import frexp as frexp
from graphc.declare.remainders import modf as modf
from graphc.declare.repeating import pad as pad
from graphc.declare.repeating import repeat as repeat
from graphc.declare.repeating import roll as roll
from graphc.declare.repeating import take as take
from graphc.declare.repeating import tile as tile
from graphc.declare.scanning import scan as scan
from graphc.declare.shapes import broadcast_to as broadcast_to
from graphc.declare.shapes import expand_dims as expand_dims
from graphc.declare.shapes import flip as flip
from graphc.declare.shapes import full_like as full_like
from graphc.declare.shapes import hstack as hstack
from graphc.declare.shapes import meshgrid as meshgrid
from graphc.declare.shapes import moveaxis as moveaxis
from graphc.declare.shapes import ones_like as ones_like
from graphc.declare.shapes import ravel as ravel
from graphc.declare.shapes import split as split
from graphc.declare.shapes import squeeze as squeeze
from graphc.declare.shapes import swapaxes as swapaxes
from graphc.declare.shapes import vstack as vstack
from graphc.declare.shapes import zeros_like as zeros_like
from graphc.declare.softmaxes import log_softmax as log_softmax
from graphc.declare.softmaxes import softmin as softmin
from graphc.declare.sorting import argsort as argsort
from graphc.declare.sorting import sort as sort
from graphc.declare.sorting import top_k as top_k
from graphc.declare import special as special
from graphc.declare.statistics import average as average
from graphc.declare.statistics import ptp as ptp
from graphc.declare.statistics import std as std
from graphc.declare.statistics import var as var
from graphc.declare.tensor import Tensor as Tensor
from graphc import errors as errors
from graphc.facade.comparing import compare as compare
from graphc.facade.deciding import plot_decision as plot_decision
from graphc.facade.rate_finding import find_learning_rate as find_learning_rate
from graphc.model import Model as Model
from graphc.model import averaged as averaged
from graphc.model import compile as compile
from graphc.model import derive as derive
from graphc.model import gauss_newton as gauss_newton
from graphc.model import grad as grad
from graphc.model import hessian as hessian
from graphc.model import hvp as hvp
from graphc.model import jacobian as jacobian
from graphc.model import jvp as jvp
from graphc.optim import AMSGrad as AMSGrad
from graphc.optim import ASGD as ASGD
from graphc.optim import AdaBelief as AdaBelief
from graphc.optim import Adadelta as Adadelta
from graphc.optim import Adafactor as Adafactor
from graphc.optim import Adagrad as Adagrad
from graphc.optim import Adam as Adam
from graphc.optim import AdamW as AdamW
from graphc.optim import Adamax as Adamax
from graphc.optim import ConjugateGradient as ConjugateGradient
from graphc.optim import LAMB as LAMB
from graphc.optim import LBFGS as LBFGS
from graphc.optim import LevenbergMarquardt as LevenbergMarquardt
from graphc.optim import Lion as Lion
from graphc.optim import Momentum as Momentum
from graphc.optim import Muon as Muon
from graphc.optim import NAdam as NAdam
from graphc.optim import Nesterov as Nesterov
from graphc.optim import NewtonCG as NewtonCG
from graphc.optim import RAdam as RAdam
from graphc.optim import RMSProp as RMSProp
from graphc.optim import Rprop as Rprop
from graphc.optim import SGD as SGD
from graphc.optim import Yogi as Yogi
from graphc.optim import rule as rule
from graphc.optim import schedules as schedules
from graphc.run.callbacks import Checkpoint as Checkpoint
from graphc.run.callbacks import EarlyStopping as EarlyStopping
from graphc.run.callbacks import Trajectory as Trajectory
from graphc.run import callbacks as callbacks
from graphc.run.encoding import Encoder as Encoder

__version__: str

def abs(x: Any) -> Any: ...
def absolute(x: Any) -> Any: ...
def acos(x: Any) -> Any: ...
def acosh(x: Any) -> Any: ...
def add(a: Any, b: Any) -> Any: ...
def angle(x: Any) -> Any: ...
def arccos(x: Any) -> Any: ...
def arccosh(x: Any) -> Any: ...
def arcsin(x: Any) -> Any: ...
def arcsinh(x: Any) -> Any: ...
def arctan(x: Any) -> Any: ...
def arctan2(y: Any, x: Any) -> Any: ...
def arctanh(x: Any) -> Any: ...
def around(x: Any) -> Any: ...
def asin(x: Any) -> Any: ...
def asinh(x: Any) -> Any: ...
def atan(x: Any) -> Any: ...
def atan2(y: Any, x: Any) -> Any: ...
def atanh(x: Any) -> Any: ...
def cbrt(x: Any) -> Any: ...
def ceil(x: Any) -> Any: ...
def celu(x: Any, alpha: Any = 1.0) -> Any: ...
def copysign(a: Any, b: Any) -> Any: ...
def cos(x: Any) -> Any: ...
def cosh(x: Any) -> Any: ...
def deg2rad(x: Any) -> Any: ...
def degrees(x: Any) -> Any: ...
def divide(a: Any, b: Any) -> Any: ...
def elu(x: Any, alpha: Any = 1.0) -> Any: ...
def erf(x: Any) -> Any: ...
def exp(x: Any) -> Any: ...
def exp2(x: Any) -> Any: ...
def expm1(x: Any) -> Any: ...
def exponential(x: Any) -> Any: ...
def fabs(x: Any) -> Any: ...
def fix(x: Any) -> Any: ...
def float_power(a: Any, b: Any) -> Any: ...
def floor(x: Any) -> Any: ...
def floor_divide(a: Any, b: Any) -> Any: ...
def fmax(a: Any, b: Any) -> Any: ...
def fmin(a: Any, b: Any) -> Any: ...
def fmod(a: Any, b: Any) -> Any: ...
def gelu(x: Any, *, approximate: Any = False) -> Any: ...
def greater(a: Any, b: Any) -> Any: ...
def greater_equal(a: Any, b: Any) -> Any: ...
def hard_shrink(x: Any, threshold: Any = 0.5) -> Any: ...
def hard_sigmoid(x: Any) -> Any: ...
def hard_silu(x: Any) -> Any: ...
def hard_swish(x: Any) -> Any: ...
def hard_tanh(x: Any) -> Any: ...
def heaviside(x: Any, h: Any = 0) -> Any: ...
def hypot(a: Any, b: Any) -> Any: ...
def i0(x: Any) -> Any: ...
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08) -> Any: ...
def isfinite(x: Any) -> Any: ...
def isinf(x: Any) -> Any: ...
def isnan(x: Any) -> Any: ...
def isneginf(x: Any) -> Any: ...
def isposinf(x: Any) -> Any: ...
def ldexp(x: Any, n: Any) -> Any: ...
def leaky_relu(x: Any, alpha: Any = 0.01) -> Any: ...
def less(a: Any, b: Any) -> Any: ...
def less_equal(a: Any, b: Any) -> Any: ...
def log(x: Any) -> Any: ...
def log10(x: Any) -> Any: ...
def log1p(x: Any) -> Any: ...
def log2(x: Any) -> Any: ...
def log_sigmoid(x: Any) -> Any: ...
def logaddexp(a: Any, b: Any) -> Any: ...
def logaddexp2(a: Any, b: Any) -> Any: ...
def logical_and(a: Any, b: Any) -> Any: ...
def logical_not(x: Any) -> Any: ...
def logical_or(a: Any, b: Any) -> Any: ...
def logical_xor(a: Any, b: Any) -> Any: ...
def maximum(a: Any, b: Any) -> Any: ...
def minimum(a: Any, b: Any) -> Any: ...
def mish(x: Any) -> Any: ...
def mod(a: Any, b: Any) -> Any: ...
def multiply(a: Any, b: Any) -> Any: ...
def nan_to_num(x: Any, nan: Any = 0.0, posinf: Any = 3.4028234663852886e+38, neginf: Any = -3.4028234663852886e+38) -> Any: ...
def negative(x: Any) -> Any: ...
def nextafter(a: Any, b: Any) -> Any: ...
def not_equal(a: Any, b: Any) -> Any: ...
def positive(x: Any) -> Any: ...
def power(a: Any, b: Any) -> Any: ...
def prelu(x: Any, alpha: Any) -> Any: ...
def rad2deg(x: Any) -> Any: ...
def radians(x: Any) -> Any: ...
def reciprocal(x: Any) -> Any: ...
def relu(x: Any) -> Any: ...
def relu6(x: Any) -> Any: ...
def relu_squared(x: Any) -> Any: ...
def remainder(a: Any, b: Any) -> Any: ...
def rint(x: Any) -> Any: ...
def round(x: Any) -> Any: ...
def selu(x: Any) -> Any: ...
def sigmoid(x: Any) -> Any: ...
def sign(x: Any) -> Any: ...
def signbit(x: Any) -> Any: ...
def silu(x: Any) -> Any: ...
def sin(x: Any) -> Any: ...
def sinc(x: Any) -> Any: ...
def sinh(x: Any) -> Any: ...
def snake(x: Any, a: Any = 1.0) -> Any: ...
def soft_shrink(x: Any, threshold: Any = 0.5) -> Any: ...
def soft_sign(x: Any) -> Any: ...
def softplus(x: Any) -> Any: ...
def softsign(x: Any) -> Any: ...
def spacing(x: Any) -> Any: ...
def sparse_plus(x: Any) -> Any: ...
def sparse_sigmoid(x: Any) -> Any: ...
def sqrt(x: Any) -> Any: ...
def square(x: Any) -> Any: ...
def squareplus(x: Any, b: Any = 4.0) -> Any: ...
def stop_gradient(x: Any, wrt: Any = None) -> Any: ...
def subtract(a: Any, b: Any) -> Any: ...
def swish(x: Any) -> Any: ...
def tan(x: Any) -> Any: ...
def tanh(x: Any) -> Any: ...
def tanh_shrink(x: Any) -> Any: ...
def threshold(x: Any, threshold: Any = 0.0, value: Any = 0.0) -> Any: ...
def true_divide(a: Any, b: Any) -> Any: ...
def trunc(x: Any) -> Any: ...
