"""Exports in the formats of other programs, as docs/running.md converts them."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.mark.slow
def test_tflite_has_the_logits_of_the_export(tmp_path):
    from sat_tf import models, saved_models

    network = models.create("resnet20", activation="swish", num_classes=10, image_size=8)
    saved_models.export(network, str(tmp_path / "saved_model"), image_size=8, crop_padding=0)
    exported = tf.saved_model.load(str(tmp_path / "saved_model"))
    size = exported.logits.input_signature[0].shape[1]
    function = tf.function(exported.logits).get_concrete_function(tf.TensorSpec([1, size, size, 3]))
    converted = tf.lite.TFLiteConverter.from_concrete_functions([function], exported).convert()
    interpreter = tf.lite.Interpreter(model_content=converted)
    interpreter.allocate_tensors()
    image = np.random.default_rng(0).uniform(size=[1, size, size, 3]).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, exported.logits(image), atol=3e-5)
