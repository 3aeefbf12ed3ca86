"""Fashion-MNIST as a folder of small images, for studies harder than digits that still fit a CPU.

    python -m benchmarks.fashion_mnist /usr/share/datasets/fashion-mnist data/fashion14 --side=14
    python -m benchmarks.study activations --dataset=folder:data/fashion14 --label=fashion14

It reads the four idx .gz files under the names they are published with (Debian's package
dataset-fashion-mnist installs them), nothing is downloaded.  Reference: Xiao et al., 2017,
https://arxiv.org/abs/1708.07747; MIT licence.
"""

import argparse
import gzip
import pathlib
import sys

import numpy as np
from PIL import Image

CLASSES = (
    "0_t-shirt",
    "1_trouser",
    "2_pullover",
    "3_dress",
    "4_coat",
    "5_sandal",
    "6_shirt",
    "7_sneaker",
    "8_bag",
    "9_ankle_boot",
)
PARTS = {"train": "train", "val": "t10k"}


def read(folder, part):
    """Returns images uint8 [N, 28, 28] and labels uint8 [N] of "train" or "t10k"."""
    arrays = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(pathlib.Path(folder, f"{part}-{kind}-ubyte.gz")) as file:
            arrays.append(np.frombuffer(file.read(), np.uint8, offset=header))
    return arrays[0].reshape(-1, 28, 28), arrays[1]


def shrink(images, side):
    """Returns uint8 [N, side, side]: means of whole blocks, where `side` divides 28."""
    block = 28 // side
    blocks = images.reshape(-1, side, block, side, block)
    return np.round(blocks.mean((2, 4))).astype(np.uint8)


def write(images, labels, folder):
    """Writes one PNG an image into the folder of its class."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels)):
        Image.fromarray(image).save(folder / CLASSES[label] / f"{number:05d}.png")


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="folder of the four .gz files")
    parser.add_argument("target", type=pathlib.Path, help="folder to make")
    parser.add_argument("--side", type=int, default=28, choices=(7, 14, 28), help="in pixels")
    parser.add_argument("--train", type=int, default=60000, help="first so many training images")
    parser.add_argument("--val", type=int, default=10000, help="first so many test images")
    arguments = parser.parse_args(argv)
    if arguments.target.exists():
        print(f"error: {arguments.target}: is there already; name a new folder", file=sys.stderr)
        return 2
    try:
        for part, name in PARTS.items():
            count = getattr(arguments, part)
            images, labels = (array[:count] for array in read(arguments.source, name))
            write(shrink(images, arguments.side), labels, arguments.target / part)
    except FileNotFoundError as error:
        print(
            f"error: {error.filename}: not there; give the folder of the four idx .gz files",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
