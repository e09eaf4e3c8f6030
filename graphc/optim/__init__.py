"""Update rules and schedules, declared as formulas like everything else. A rule is immutable text; the state that
it names (moments, step number) belongs to the model that trains with it.
"""

from graphc.optim.adam_family import AdaBelief, Adamax, AMSGrad, NAdam, RAdam, Yogi
from graphc.optim.curvature import LBFGS, ConjugateGradient, Curvature, LevenbergMarquardt, NewtonCG
from graphc.optim.groups import AnyRule, Groups, average_places
from graphc.optim.known import (
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
    optimizer_named,
    rule_named,
)
from graphc.optim.layerwise import LAMB, Adafactor, Muon
from graphc.optim.rules import Rule, reference_step, rule
from graphc.optim.schedules import Schedule, constant, cosine, exponential, schedule, step_decay, warmup
from graphc.optim.steps import ASGD, Adadelta, Lion, Rprop

__all__ = [
    "Curvature",
    "Groups",
    "Optimizer",
    "average_places",
    "ConjugateGradient",
    "LBFGS",
    "LevenbergMarquardt",
    "NewtonCG",
    "LAMB",
    "Adafactor",
    "Adadelta",
    "Adamax",
    "NAdam",
    "RAdam",
    "AMSGrad",
    "AdaBelief",
    "Yogi",
    "Rprop",
    "ASGD",
    "Lion",
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Muon",
    "Nesterov",
    "RMSProp",
    "Rule",
    "AnyRule",
    "Schedule",
    "constant",
    "cosine",
    "exponential",
    "optimizer_named",
    "rule_named",
    "reference_step",
    "rule",
    "schedule",
    "step_decay",
    "warmup",
]
