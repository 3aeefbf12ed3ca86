"""Defaults that depend on the data set or on the family of the model, by flag name.

Each is used where the flag is not given; a more particular table comes before a general one.
"""

# The release's recipes (tables 1.4 and 1.5 of the reference notes' sources): ResNets by SGD with
# drops, EfficientNets by RMSProp with a slow exponential and averaged weights.
# `learning_rate_per_256` is multiplied by batch_size / 256; the release's ResNet code divides
# whole numbers there, which would be 0 below 256 images.
FAMILIES = {
    "resnet": dict(
        optimizer="sgd", learning_rate_per_256=0.1, schedule="step", warmup_epochs=5.0,
        warmup_learning_rate=0.1, weight_decay=1e-4, weight_decay_on="kernels", ema_decay=0.0),
    "efficientnet": dict(
        optimizer="rmsprop", learning_rate_per_256=0.016, schedule="exponential",
        warmup_epochs=5.0, warmup_learning_rate=0.0, weight_decay=1e-5,
        weight_decay_on="all_but_batch_norm", ema_decay=0.9999),
}

# Digits: chosen by measurement with ResNet-20, so that plain training keeps well under 10 % of its
# accuracy under PGD-20 and adversarial training over 80 %, at 99 % clean, in about a minute on two
# cores.  The clean epochs first matter most: without them the same 30 epochs fit neither clean nor
# adversarial images.  They are a share of the run, so that a short one attacks from its first step.
DATASETS = {
    "digits": dict(
        epsilon=0.2, num_steps=3, clean_share=1 / 6, batch_size=64, epochs=30.0, augment="none",
        label_smoothing=0.0),
}

# Where a family's recipe does not suit the length of a data set's runs.
FAMILIES_ON_DATASETS = {
    ("resnet", "digits"): dict(
        learning_rate_per_256=0.4, schedule="triangular", warmup_epochs=0.0, weight_decay=5e-4),
}


def of(family: str, dataset: str) -> dict:
    """Returns the defaults of a model of `family` on `dataset`."""
    return {**FAMILIES[family], **DATASETS[dataset],
            **FAMILIES_ON_DATASETS.get((family, dataset), {})}
