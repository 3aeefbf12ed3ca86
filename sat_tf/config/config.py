"""What a run is: one frozen `Config` of small frozen parts."""

import dataclasses
import json

from sat_tf.config.parts import (
    AttackConfig,
    DataConfig,
    DistributionConfig,
    EvaluationConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    PluginConfig,
)
from sat_tf.config.ranges import check_range, refuse
from sat_tf.config.recording import RecordingConfig
from sat_tf.config.saving import SavingConfig


@dataclasses.dataclass(frozen=True)
class Config:
    """One run, completely resolved: nothing below this has a default of its own.

    `model` is a SavedModelConfig where one is evaluated, of which there is no run to store.
    """

    model: ModelConfig
    attack: AttackConfig
    method: MethodConfig
    optimizer: OptimizerConfig
    data: DataConfig
    distribution: DistributionConfig
    evaluation: EvaluationConfig
    seed: int
    plugin: PluginConfig = PluginConfig()
    saving: SavingConfig = SavingConfig()
    recording: RecordingConfig = RecordingConfig()

    def __post_init__(self):
        check_range("seed", self.seed, low=0, below=2**31)
        self._check_validation()
        self._check_norm()

    def _check_norm(self):
        norm = self.evaluation.norm
        if self.evaluation.epsilon is None and norm != self.attack.norm:
            example = "4/255" if norm == "linf" else "0.5"
            refuse(
                "eval_norm",
                norm,
                f"the radius of training is one of the norm {self.attack.norm} and means nothing "
                f"in it; give --eval_epsilon too, such as {example}",
            )

    def _check_validation(self):
        if self.data.validation_examples:
            return
        for flag, value in (
            ("patience", self.evaluation.patience),
            ("eval_checkpoint", self.evaluation.checkpoint),
        ):
            if value not in (0, "last"):
                refuse(
                    flag,
                    value,
                    "there is nothing to judge the checkpoints by; give "
                    "--validation_examples=N too",
                )

    @property
    def evaluation_epsilon(self) -> float:
        """Radius of the evaluation's attacks, in the norm of `evaluation.norm`."""
        epsilon = self.evaluation.epsilon
        return self.attack.epsilon if epsilon is None else epsilon

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: dict) -> "Config":
        """Raises ValueError where settings are missing or unknown."""
        parts = {}
        try:
            for field in dataclasses.fields(cls):
                if field.name not in values and field.default is not dataclasses.MISSING:
                    continue  # there was none when the run was begun
                value = values[field.name]
                parts[field.name] = field.type(**value) if isinstance(value, dict) else value
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a configuration of this version: {error}") from error
        return cls(**parts)
