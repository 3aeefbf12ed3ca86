"""The flags of the group "model": the network, and where its weights are from."""

from flags.groups import learnt_activation
from flags.kinds import choice, integer, names_of, number, string, switch
from sat_tf import activations, models, saved_models
from sat_tf.config import ModelConfig, checked
from sat_tf.errors import UserError

FLAGS = (
    string("model", "resnet20", f"One of: {names_of(models.MODELS)}."),
    string("activation", "swish", f"One of: {names_of(activations.ACTIVATIONS)}."),
    number(
        "activation_alpha",
        None,
        "Sharpness of an activation that has one, above 0. Default: the activation's own.",
    ),
    integer(
        "image_size",
        None,
        "Side of the network's square input in pixels. Default: the data set's; the model's "
        "where images vary in size.",
    ),
    integer("num_classes", None, "Number of logits, 2 or more. Default: the data set's."),
    number("dropout_rate", None, "Before the last layer, in [0, 1). Default: the model's."),
    number(
        "survival_probability",
        None,
        "Of the last block under stochastic depth, in (0, 1]; 1 is off. Default: the model's.",
    ),
    number(
        "batch_norm_momentum", None, "Of the moving statistics, in [0, 1). Default: the model's."
    ),
    number("batch_norm_epsilon", None, "Added to the variance, above 0. Default: the model's."),
    switch(
        "sync_batch_norm",
        True,
        "Normalise by the whole batch in training, however many replicas share it; else each "
        "replica by its share, as the release did.",
    ),
    integer("sparta_kernel_size", 3, "Side of sparta's kernel in pixels, odd."),
    switch("sparta_shared", False, "One sparta kernel for all channels of a place."),
    number("sparta_gain", 1, "Factor on sparta's attention, above 0; at 2 its slope at 0 is 1."),
    string(
        "sparta_from",
        None,
        "A run whose learnt sparta activations this one starts with, each at its own place in "
        "the network, as it is evaluated; sparta's options are that run's where not given.",
    ),
    switch(
        "freeze_activation",
        False,
        "Keep the learnt activation as --sparta_from or --init_checkpoint gives it.",
    ),
    string(
        "init_checkpoint",
        None,
        "A run folder or checkpoint of this project, or a checkpoint of the original release "
        "(TensorFlow 1, or .npz), to start a new run's weights from, or to evaluate, export or "
        "predict with. Of a folder: the best checkpoint where that is evaluated, else the "
        "newest.",
    ),
    string(
        "saved_model",
        None,
        "For --mode=eval: the folder of any SavedModel, to measure in the place of a run's "
        "network.",
    ),
    choice(
        "input_range",
        "0,1",
        tuple(saved_models.INPUT_RANGES),
        "What the --saved_model expects of images; perturbation sizes stay in [0, 1].",
    ),
    string(
        "saved_model_signature",
        None,
        "The function of the --saved_model to measure. Default: logits, else serving_default, "
        "else the only signature, else the model's own call.",
    ),
    choice(
        "checkpoint_channels",
        None,
        ("rgb", "bgr"),
        "Channel order that the release's checkpoint was fed. Default: bgr for its ResNets, rgb "
        "for its EfficientNets.",
    ),
    switch(
        "checkpoint_ema",
        False,
        "Take the moving averages in the release's checkpoint; of its networks only "
        "EfficientNet-L1 Enhanced is evaluated so.",
    ),
)


def config_of(values, description, row, learnt):
    num_classes = values.get("num_classes", description.num_classes)
    if 2 <= num_classes < description.num_classes and not values.given("num_classes"):
        raise UserError(
            f"--dataset={description.name}: has {description.num_classes} classes, the "
            f"network {num_classes}; name the data set it was trained on"
        )
    if 2 <= num_classes < description.num_classes:
        raise UserError(
            f"--num_classes={num_classes}: {description.name} has "
            f"{description.num_classes} classes; give at least that many"
        )
    activation, alpha = values.get("activation"), values.get("activation_alpha")
    checked("activation", activations.create, activation)
    if alpha is not None:
        checked("activation_alpha", lambda a: activations.create(activation, a), alpha)
    return ModelConfig(
        name=models.canonical_name(values.get("model")),
        activation=activation,
        activation_alpha=alpha,
        image_size=values.get("image_size", description.image_size or row.image_size),
        num_classes=num_classes,
        dropout_rate=values.get("dropout_rate", row.dropout_rate),
        survival_probability=values.get("survival_probability", row.survival_probability),
        batch_norm_momentum=values.get("batch_norm_momentum", row.batch_norm_momentum),
        batch_norm_epsilon=values.get("batch_norm_epsilon", row.batch_norm_epsilon),
        sync_batch_norm=values.get("sync_batch_norm"),
        **learnt_activation.settings(values, activation, learnt),
    )


def row_of(values):
    """Returns the row of MODELS that the flags name."""
    return models.MODELS[checked("model", models.canonical_name, values.get("model"))]
