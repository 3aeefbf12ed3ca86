"""What a run is, as one frozen value that is checked when it is made.

    from sat_tf import config
    settings = config.Config.from_dict(json.load(open("runs/mine/config.json")))
    settings.attack.epsilon                              # 0.0157, in [0, 1] pixel units
    config.flag_values(settings)["epsilon"]              # the same, by its flag

Everything below the command line gets what it needs from here as plain values.
"""

from sat_tf.config.config import Config
from sat_tf.config.parts import (
    AttackConfig,
    DataConfig,
    DistributionConfig,
    EvaluationConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    PluginConfig,
    SavedModelConfig,
)
from sat_tf.config.ranges import (
    check_attack_size,
    check_default_step,
    check_pixel_size,
    check_radius,
    check_range,
    checked,
    refuse,
)
from sat_tf.config.recording import RecordingConfig
from sat_tf.config.saving import SavingConfig
from sat_tf.config.settings import differences, flag_values, flags_missing, with_settings_of

__all__ = [
    "AttackConfig",
    "Config",
    "DataConfig",
    "DistributionConfig",
    "EvaluationConfig",
    "MethodConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PluginConfig",
    "SavedModelConfig",
    "RecordingConfig",
    "SavingConfig",
    "check_attack_size",
    "check_default_step",
    "check_pixel_size",
    "check_radius",
    "check_range",
    "checked",
    "differences",
    "flag_values",
    "flags_missing",
    "refuse",
    "with_settings_of",
]
