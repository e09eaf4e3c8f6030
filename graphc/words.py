"""Words of other libraries and what they are called here: hints of errors, and the page docs/coming_from.md.

Names that are the same in both are left out; of what graphc does not have, nothing is promised.
"""

from __future__ import annotations

from collections.abc import Collection

WORDS: dict[str, dict[str, str]] = {
    "NumPy": {
        "array": "a NumPy array itself: X + a makes it a constant",
        "linspace": "a NumPy array itself: X + a makes it a constant",
    },
    "PyTorch": {
        "tensor": "gc.input for data, gc.param for parameters",
        "Parameter": "gc.param",
        "Linear": "gc.nn.Dense",
        "linear": "gc.nn.Dense",
        "fc": "gc.nn.Dense",
        "Module": "gc.Model",
        "Sequential": "gc.nn.sequential",
        "cat": "gc.concatenate",
        "no_grad": "gc.stop_gradient",
        "detach": "gc.stop_gradient",
        "backward": "gc.grad, or model.derive for the formula",
        "autograd": "gc.grad",
        "DataLoader": "model.fit(x, t, batch_size=32)",
        "CrossEntropyLoss": "gc.losses.cross_entropy",
        "NLLLoss": "gc.losses.cross_entropy",
        "BCELoss": "gc.losses.bce",
        "BCEWithLogitsLoss": "gc.losses.bce_with_logits",
        "MSELoss": "gc.losses.mse",
        "L1Loss": "gc.losses.mae",
        "SmoothL1Loss": "gc.losses.smooth_l1",
        "HuberLoss": "gc.losses.huber",
        "KLDivLoss": "gc.losses.kl_divergence",
        "PoissonNLLLoss": "gc.losses.poisson",
        "GaussianNLLLoss": "gc.losses.gaussian_nll",
        "CosineEmbeddingLoss": "gc.losses.cosine_similarity",
        "TripletMarginLoss": "gc.losses.triplet",
        "MarginRankingLoss": "gc.losses.margin_ranking",
        "MultiMarginLoss": "gc.losses.multi_margin",
        "MultiLabelMarginLoss": "gc.losses.multilabel_margin",
        "MultiLabelSoftMarginLoss": "gc.losses.multilabel_soft_margin",
        "RMSprop": "gc.RMSProp",
        "StepLR": "gc.schedules.step_decay",
        "MultiStepLR": "gc.schedules.piecewise",
        "ExponentialLR": "gc.schedules.exponential",
        "LinearLR": "gc.schedules.linear",
        "PolynomialLR": "gc.schedules.polynomial",
        "CosineAnnealingLR": "gc.schedules.cosine",
        "CosineAnnealingWarmRestarts": "gc.schedules.cosine_restarts",
        "OneCycleLR": "gc.schedules.one_cycle",
        "CyclicLR": "gc.schedules.cyclic",
        "SequentialLR": "gc.schedules.sequence",
        "kaiming_normal_": "gc.init.he_normal",
        "kaiming_uniform_": "gc.init.he_uniform",
        "xavier_normal_": "gc.init.glorot_normal",
        "xavier_uniform_": "gc.init.glorot_uniform",
        "clip_grad_norm_": "clip_norm= of an optimizer, gc.Adam(clip_norm=1.0)",
        "clip_grad_value_": "clip_value= of an optimizer, gc.Adam(clip_value=1.0)",
    },
    "Keras": {
        "Input": "gc.input",
        "layers": "gc.nn",
        "optimizers": "the optimizers themselves: gc.Adam",
        "initializers": "gc.init",
        "regularizers": "gc.l1 and gc.l2, added to the loss",
        "categorical_crossentropy": "gc.losses.cross_entropy",
        "sparse_categorical_crossentropy": "gc.losses.cross_entropy",
        "CategoricalCrossentropy": "gc.losses.cross_entropy",
        "binary_crossentropy": "gc.losses.bce",
        "mean_squared_error": "gc.losses.mse",
        "mean_absolute_error": "gc.losses.mae",
        "mean_absolute_percentage_error": "gc.losses.mape",
        "mean_squared_logarithmic_error": "gc.losses.msle",
        "Nadam": "gc.NAdam",
        "Ftrl": "gc.rule, with your own lines",
        "NonNeg": "gc.constraints.nonnegative",
        "MaxNorm": "gc.constraints.max_norm",
        "UnitNorm": "gc.constraints.unit_norm",
        "PiecewiseConstantDecay": "gc.schedules.piecewise",
        "CosineDecay": "gc.schedules.cosine",
        "ExponentialDecay": "gc.schedules.exponential",
        "PolynomialDecay": "gc.schedules.polynomial",
        "ModelCheckpoint": "gc.Checkpoint",
    },
    "JAX": {
        "jit": "gc.compile",
        "vmap": "an axis with a name: gc.input('X', ('n', 3))",
        "value_and_grad": "gc.grad",
        "jacfwd": "gc.jacobian",
        "jacrev": "gc.jacobian",
        "lax": "gc.where, gc.sum and index notation",
        "softmax_cross_entropy": "gc.losses.cross_entropy",
        "join_schedules": "gc.schedules.sequence",
    },
    "scikit-learn": {
        "log_loss": "gc.losses.cross_entropy",
        "accuracy_score": "gc.metrics.accuracy",
        "r2_score": "gc.metrics.r2",
        "MLPClassifier": "gc.nn.Dense and gc.Model",
        "mean_pinball_loss": "gc.losses.quantile",
    },
    "SymPy": {
        "symbols": "gc.indices for index letters, gc.input for data",
        "lambdify": "gc.function for a scalar expression, gc.from_sympy for sums and matrices",
        "sympify": "gc.from_sympy, and x.to_sympy() back",
        "IndexedBase": "gc.input with a shape; gc.from_sympy reads sums of its elements",
        "Function": "gc.function",
        "Derivative": "gc.grad, or f.d('a') of a gc.function",
        "MatrixSymbol": "gc.input with a shape; gc.from_sympy reads matrix expressions",
        "Piecewise": "gc.where",
        "Matrix": "gc.input with a shape",
        "Sum": "gc.sum(..., over=k)",
    },
}
"""Names, by library: what it is called here."""

OPTIONS: dict[str, tuple[str, str]] = {
    "lr": ("eta", "give it to the optimizer: optimizer=gc.Adam(eta=0.01)."),
    "learning_rate": ("eta", "give it to the optimizer: optimizer=gc.Adam(eta=0.01)."),
    "learning_rate_init": ("eta", "give it to the optimizer: optimizer=gc.Adam(eta=0.01)."),
    "alpha": ("decay", "give it to the optimizer, decay=0.01, or add gc.l2(W, 0.01) to the loss."),
    "weight_decay": ("decay", "give it to the optimizer: optimizer=gc.Adam(decay=0.01)."),
    "momentum": ("mu", "write gc.Momentum(eta=0.01, mu=0.9)."),
    "nesterov": ("mu", "write gc.Nesterov(eta=0.01, mu=0.9)."),
    "amsgrad": ("", "write gc.AMSGrad(eta=0.001)."),
    "betas": ("b1", "write b1=0.9, b2=0.999 for gc.Adam."),
    "beta_1": ("b1", "write b1=0.9 for gc.Adam."),
    "beta_2": ("b2", "write b2=0.999 for gc.Adam."),
    "epsilon": ("eps", "write eps=1e-8."),
    "momentum_decay": ("psi", "write gc.NAdam(psi=0.004)."),
    "centered": ("centred", "write gc.RMSProp(centred=True)."),
    "clipnorm": ("clip_norm", "give it to the optimizer: gc.Adam(clip_norm=1.0)."),
    "clipvalue": ("clip_value", "give it to the optimizer: gc.Adam(clip_value=1.0)."),
    "epoch": ("epochs", "write epochs=10."),
    "n_epochs": ("epochs", "write epochs=10."),
    "max_iter": ("epochs", "write epochs=10."),
    "verbose": ("progress", "write progress=True for a line."),
    "validation_split": ("validation", "write validation=0.2."),
    "validation_data": ("validation", "write validation=(x, t)."),
    "random_state": ("seed", "write seed=0."),
    "device": ("target", 'write target="cuda".'),
    "class_weight": ("sample_weight", "give a weight for each row, or class_weight= of gc.losses.cross_entropy."),
    "reduction": ("reduce", 'write reduce="mean", "sum" or None.'),
    "kernel_initializer": ("init", 'write init="he_normal" of gc.nn.Dense.'),
    "kernel_constraint": ("constraint", "give it to gc.param: constraint=gc.constraints.nonnegative."),
}
"""Options of functions: what they are called where the function has them, and what to write elsewhere."""


def meaning(name: str) -> str | None:
    """What a name of another library is called here."""
    return next((words[name] for words in WORDS.values() if name in words), None)


def option_hint(option: str, known: Collection[str]) -> str | None:
    """A hint for an option that a function does not have, by its meaning."""
    if option not in OPTIONS:
        return None
    ours, example = OPTIONS[option]
    return f"here it is called {ours!r}." if ours in known else example
