"""How fast is each form of the attack loop, against its floor and against the graph loop?

    python benchmarks/attack_speed.py                                   # small network, CPU minutes
    python benchmarks/attack_speed.py --model=resnet20 --batch_size=64

The floor is num_steps x (one forward and one image-gradient pass), measured bare: what the loop
adds (projection, noise, control) is the rest.  Repetitions of all forms are interleaved, so that
a busy machine slows all alike, and medians are compared; only ratios are printed, one JSON line
a form:
  time_ratio    wall time of one attack, the plain graph loop's being 1
  cpu_ratio     likewise its processor time, steadier where others use the machine
  floor_share   floor / attack, in processor time on a CPU and wall time elsewhere; XLA may pass
                1, since the bare passes are plain
  first_call    wall time of the first call (tracing, compiling) in graph-loop attacks
The last line compares the plain loop with oneDNN on to off, each in processes of its own.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

import sat_tf  # noqa: E402, F401  (chooses Keras 2)
from sat_tf import attacks  # noqa: E402

EPSILON = 4 / 255


def small_network(size):
    layers = tf.keras.layers
    net = tf.keras.Sequential([tf.keras.Input((size, size, 3))])
    for width in (32, 32, 64, 64):
        net.add(layers.Conv2D(width, 3, 1 + (width > 32), padding="same", use_bias=False))
        net.add(layers.BatchNormalization())
        net.add(layers.Activation("swish"))
    net.add(layers.GlobalAveragePooling2D())
    net.add(layers.Dense(10))
    return net


def make_logits_fn(args):
    if args.model == "small":
        net = small_network(args.image_size)
    else:
        from sat_tf import models

        net = models.create(
            args.model, activation=args.activation, num_classes=10, image_size=args.image_size
        )
    return lambda images: net(images, training=False)


def make_attack(logits_fn, form, num_steps):
    return tf.function(
        lambda images, labels, seed: attacks.pgd(
            logits_fn, images, labels, seed, epsilon=EPSILON, num_steps=num_steps, compiled=form
        )
    )


def make_bare_pass(logits_fn):
    @tf.function
    def bare_pass(images, labels, seed):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            loss = tf.reduce_sum(attacks.cross_entropy(logits_fn(images), labels))
        return tape.gradient(loss, images)

    return bare_pass


def seconds(function, *arguments):
    """Returns the wall and the processor time of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(*arguments).numpy()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(functions, args):
    """Returns three dicts by name, in seconds: first call, later calls' median, their cpu's."""
    images = tf.random.stateless_uniform(
        [args.batch_size, args.image_size, args.image_size, 3], [0, 1]
    )
    labels = tf.range(args.batch_size) % 10
    first = {name: seconds(f, images, labels, tf.constant([0, 0])) for name, f in functions.items()}
    times = {name: [] for name in functions}
    for repeat in range(1, args.repeats + 1):
        for name, function in functions.items():
            times[name].append(seconds(function, images, labels, tf.constant([0, repeat])))
    wall, cpu = (
        {name: statistics.median(pair[kind] for pair in pairs) for name, pairs in times.items()}
        for kind in (0, 1)
    )
    return {name: pair[0] for name, pair in first.items()}, wall, cpu


def compare_forms(args):
    logits_fn = make_logits_fn(args)
    functions = {
        form: make_attack(logits_fn, form, args.num_steps) for form in attacks.COMPILED_FORMS
    }
    first, wall, cpu = measure({**functions, "pass": make_bare_pass(logits_fn)}, args)
    cost = wall if tf.config.list_logical_devices("GPU") else cpu
    return [
        {
            "form": form,
            "time_ratio": round(wall[form] / wall["none"], 3),
            "cpu_ratio": round(cpu[form] / cpu["none"], 3),
            "floor_share": round(args.num_steps * cost["pass"] / cost[form], 3),
            "first_call": round(first[form] / wall["none"], 1),
        }
        for form in functions
    ]


def compare_onednn(args):
    times = {"0": [], "1": []}
    for _ in range(2):
        for setting, values in times.items():
            child = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--plain_loop_cpu_seconds"],
                check=True,
                env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting},
                stdout=subprocess.PIPE,
            )
            values.append(float(child.stdout.split()[-1]))
    ratio = statistics.median(times["1"]) / statistics.median(times["0"])
    return {"form": "none", "onednn_on_to_off_cpu_ratio": round(ratio, 3)}


def setting(args):
    return {
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "devices": [device.device_type for device in tf.config.list_logical_devices()],
        "model": args.model,
        "image_size": args.image_size,
        "batch_size": args.batch_size,
        "num_steps": args.num_steps,
        "repeats": args.repeats,
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small", help="'small', or a name of sat_tf.models")
    parser.add_argument("--activation", default="swish", help="of a model of sat_tf.models")
    parser.add_argument("--image_size", type=int, default=32, help="pixels a side")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_steps", type=int, default=5, help="steps of the attack")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each form")
    parser.add_argument("--output", help="also write everything to this JSON file")
    parser.add_argument("--plain_loop_cpu_seconds", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse_arguments()
    if args.plain_loop_cpu_seconds:
        plain = make_attack(make_logits_fn(args), "none", args.num_steps)
        print(measure({"none": plain}, args)[2]["none"])
        return
    rows = []
    for row in (*compare_forms(args), compare_onednn(args)):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.output:
        report = json.dumps({"setting": setting(args), "results": rows}, indent=1)
        pathlib.Path(args.output).write_text(report + "\n")


if __name__ == "__main__":
    main()
