"""The parts of a Config, each checked when it is made.

A field is named after the command-line flag that sets it; where the two differ, the field's
metadata holds the flag.  Metadata also says which settings `define` the trained weights: a run
folder may only be continued with the same ones, while the others (how long to train, what to
evaluate, on which hardware) may change from one command to the next.
"""

import dataclasses

from sat_tf.config.fields import setting
from sat_tf.config.ranges import check_attack_size, check_radius, check_range, refuse


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network.  `image_size` is its square input side in pixels."""

    name: str = setting("model")
    activation: str = setting()
    activation_alpha: float | None = setting()
    image_size: int = setting()
    num_classes: int = setting()
    dropout_rate: float = setting()
    survival_probability: float = setting()
    batch_norm_momentum: float = setting()
    batch_norm_epsilon: float = setting()
    sparta_kernel_size: int = setting(default=3)
    sparta_shared: bool = setting(default=False)
    sparta_gain: float = setting(default=1.0)
    sparta_from: str | None = setting(default=None)
    freeze_activation: bool = setting(default=False)
    sync_batch_norm: bool = setting(default=True)

    def __post_init__(self):
        check_range("image_size", self.image_size, low=8)  # five halvings
        check_range("num_classes", self.num_classes, low=2)
        check_range("dropout_rate", self.dropout_rate, low=0, below=1)
        check_range("survival_probability", self.survival_probability, above=0, high=1)
        check_range("batch_norm_momentum", self.batch_norm_momentum, low=0, below=1)
        check_range("batch_norm_epsilon", self.batch_norm_epsilon, above=0)
        if self.activation_alpha is not None:
            check_range("activation_alpha", self.activation_alpha, above=0)
        check_range("sparta_kernel_size", self.sparta_kernel_size, low=1)
        if self.sparta_kernel_size % 2 == 0:
            refuse(
                "sparta_kernel_size",
                self.sparta_kernel_size,
                "give an odd number, so that the kernel has a centre",
            )
        check_range("sparta_gain", self.sparta_gain, above=0)


@dataclasses.dataclass(frozen=True)
class SavedModelConfig:
    """A SavedModel in a network's place; its sizes are those that loading has found."""

    path: str = setting("saved_model")
    input_range: str = setting()
    signature: str | None = setting("saved_model_signature")
    image_size: int = setting()
    num_classes: int = setting()


@dataclasses.dataclass(frozen=True)
class AttackConfig:
    """The attack inside training, and the epsilon and norm that evaluation shares.

    Sizes are in pixels of [0, 1].
    """

    epsilon: float = setting()
    step_size: float = setting()
    num_steps: int = setting()
    random_start: bool = setting()
    clean_start_probability: float = setting()
    attack_gradient: str | None = setting(default=None)
    norm: str = setting(default="linf")

    def __post_init__(self):
        check_attack_size(self.epsilon, self.num_steps, self.norm)
        check_radius("step_size", self.step_size, self.norm)
        check_range("clean_start_probability", self.clean_start_probability, low=0, high=1)


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """How the weights meet the attack.  `clean_epochs` epochs without attack come first.

    The constants of a method that is not the run's have no effect.
    """

    name: str = setting("method")
    clean_epochs: int = setting()
    label_smoothing: float = setting()
    update_gradient: str | None = setting(default=None)
    trades_beta: float = setting(default=6.0)
    backward_smoothing_beta: float = setting(default=10.0)
    backward_smoothing_gamma: float = setting(default=1.0)
    converge_smooth_threshold: float = setting(default=0.03)
    converge_smooth_ratio: float = setting(default=1.0)
    converge_smooth_weight: float = setting(default=1.0)
    converge_smooth_stride: int = setting(default=1)
    converge_smooth_project: bool = setting(default=True)
    catastrophic_drop: float = setting(default=0.0)

    def __post_init__(self):
        check_range("clean_epochs", self.clean_epochs, low=0)
        check_range("label_smoothing", self.label_smoothing, low=0, below=1)
        for name in (
            "trades_beta",
            "backward_smoothing_beta",
            "backward_smoothing_gamma",
            "converge_smooth_threshold",
            "converge_smooth_weight",
            "converge_smooth_stride",
        ):
            check_range(name, getattr(self, name), low=0)
        check_range("converge_smooth_ratio", self.converge_smooth_ratio, low=1)
        check_range("catastrophic_drop", self.catastrophic_drop, low=0, high=1)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update.  A step is one global batch; `steps_per_epoch` follows from the data."""

    name: str = setting("optimizer")
    learning_rate: float = setting()
    schedule: str = setting()
    train_steps: int = setting(defines=False)
    steps_per_epoch: int = setting(defines=False)
    warmup_epochs: float = setting()
    warmup_learning_rate: float = setting()
    weight_decay: float = setting()
    weight_decay_on: str = setting()
    ema_decay: float = setting()
    sam_rho: float = setting(default=0.0)
    sam_adaptive: bool = setting(default=False)
    sam_norm: str = setting(default="global")
    drops: tuple[float, ...] | None = setting(default=None)

    def __post_init__(self):
        check_range("learning_rate", self.learning_rate, low=0)
        check_range("train_steps", self.train_steps, low=1)
        check_range("warmup_epochs", self.warmup_epochs, low=0)
        check_range("warmup_learning_rate", self.warmup_learning_rate, low=0)
        check_range("weight_decay", self.weight_decay, low=0)
        check_range("ema_decay", self.ema_decay, low=0, below=1)
        if self.drops is not None:
            self._check_drops()
        check_range("sam_rho", self.sam_rho, low=0)
        if self.sam_adaptive and not self.sam_rho:
            refuse("sam_adaptive", "true", "it is a form of SAM; give --sam_rho above 0 too")

    def _check_drops(self):
        object.__setattr__(self, "drops", tuple(self.drops))  # JSON brings a list
        for share in self.drops:
            check_range("drops", share, above=0, below=1)
        if list(self.drops) != sorted(set(self.drops)):
            refuse("drops", ",".join(f"{share:g}" for share in self.drops), "give rising shares")

    @property
    def warmup_steps(self) -> int:
        return round(self.warmup_epochs * self.steps_per_epoch)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data.  `train_examples` and `eval_examples` are the numbers in use, caps applied."""

    name: str = setting("dataset")
    data_dir: str | None = setting(defines=False)
    augment: str = setting()
    batch_size: int = setting()
    train_examples: int = setting()
    eval_examples: int = setting(defines=False)
    # These have values for the runs that were begun before there was such a setting.
    randaugment_layers: int = setting(default=2)
    randaugment_magnitude: float = setting(default=9.0)
    download: bool = setting(defines=False, default=False)
    max_bad_records: int = setting(defines=False, default=0)
    validation_examples: int = setting(default=0)

    def __post_init__(self):
        check_range("train_examples", self.train_examples, low=1)
        check_range("eval_examples", self.eval_examples, low=1)
        check_range("batch_size", self.batch_size, low=1)
        check_range("max_bad_records", self.max_bad_records, low=0)
        check_range("randaugment_layers", self.randaugment_layers, low=1)
        check_range("randaugment_magnitude", self.randaugment_magnitude, low=0, high=30)
        check_range("validation_examples", self.validation_examples, low=0)
        if self.validation_examples >= self.train_examples:
            refuse(
                "validation_examples",
                self.validation_examples,
                "none of the "
                f"{self.train_examples} training examples in use would be left; give fewer",
            )
        available = self.train_examples - self.validation_examples
        if self.batch_size > available:
            refuse(
                "batch_size",
                self.batch_size,
                f"larger than the training set in use; give at most {available}",
            )


@dataclasses.dataclass(frozen=True)
class DistributionConfig:
    """Where it runs.  `virtual_cpus` splits the CPU into logical devices, to try strategies."""

    strategy: str = setting(defines=False)
    tpu: str | None = setting(defines=False)
    virtual_cpus: int = setting(defines=False)
    xla: str = setting(defines=False)
    precision: str = setting()
    steps_per_execution: int = setting(defines=False)

    def __post_init__(self):
        check_range("virtual_cpus", self.virtual_cpus, low=1)
        check_range("steps_per_execution", self.steps_per_execution, low=1)


@dataclasses.dataclass(frozen=True)
class PluginConfig:
    """Files of the user's own whose rows the run uses: (absolute path, SHA-256) of each."""

    files: tuple[tuple[str, str], ...] = setting("plugin", defines=False, default=())

    def __post_init__(self):
        object.__setattr__(self, "files", tuple(map(tuple, self.files)))  # JSON brings lists


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is measured.  `step_size` None means the rule max(1/255, epsilon / steps).

    `epsilon` is the radius in `norm`; None means that of the attack in training.  `curves`
    are of `curve_attack`, that against epsilon at `curve_epsilons`.  The attack for validation
    follows that rule always, so that the epochs of a run compare.
    `checkpoint` is "last" or "best", the one that is measured and exported; `patience` epochs
    without a better one end the training, 0 for never.
    """

    attacks: tuple[str, ...] = setting("eval_attacks", defines=False)
    batch_size: int = setting("eval_batch_size", defines=False)
    every: int = setting("eval_every", defines=False)
    step_size: float | None = setting("eval_step_size", defines=False)
    validation_attack: str = setting(default="pgd-10")
    patience: int = setting(defines=False, default=0)
    checkpoint: str = setting("eval_checkpoint", defines=False, default="last")
    norm: str = setting("eval_norm", defines=False, default="linf")
    epsilon: float | None = setting("eval_epsilon", defines=False, default=None)
    robust_if: str = setting(defines=False, default="final")
    autoattack_version: str = setting(defines=False, default="standard")
    self_checks: str = setting(defines=False, default="auto")
    transfer_from: str | None = setting(defines=False, default=None)
    curves: tuple[str, ...] = setting(defines=False, default=())
    curve_attack: str = setting(defines=False, default="pgd-20")
    curve_epsilons: tuple[float, ...] | None = setting(defines=False, default=None)
    save_adversarial: int = setting(defines=False, default=0)

    def __post_init__(self):
        object.__setattr__(self, "attacks", tuple(self.attacks))  # JSON brings a list
        check_range("eval_batch_size", self.batch_size, low=1)
        check_range("eval_every", self.every, low=0)
        check_range("patience", self.patience, low=0)
        check_range("save_adversarial", self.save_adversarial, low=0)
        if self.epsilon is not None:
            check_radius("eval_epsilon", self.epsilon, self.norm)
        if self.step_size is not None:
            check_radius("eval_step_size", self.step_size, self.norm)
        if self.curve_epsilons is not None:
            object.__setattr__(self, "curve_epsilons", tuple(self.curve_epsilons))
            for epsilon in self.curve_epsilons:
                check_radius("curve_epsilons", epsilon, self.norm)
        object.__setattr__(self, "curves", tuple(self.curves))
