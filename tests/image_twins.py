"""Images for the tests of augmentation, and what should become of them, without TensorFlow."""

import numpy as np
from PIL import Image


def random_pixels(height, width):
    """uint8 [height, width, 3], all levels about equally often."""
    return np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)


def dull_pixels(height, width):
    """The same from 20 to 105, each channel with a histogram of its own."""
    slope = np.indices((height, width)).sum(0)[..., np.newaxis] * np.array([1, 2, 3]) % 80
    pixels = (20 + slope + random_pixels(height, width) % 6).astype(np.uint8)
    pixels[0, :2] = [[20], [105]]
    return pixels


def pillow(pixels, function, *arguments):
    """`function` of a Pillow image."""
    return np.asarray(function(Image.fromarray(pixels), *arguments))


def nearest(pixels, matrix):
    """The pixel at (x, y) is the one nearest to matrix @ (x, y, 1), or 128 if that is outside."""
    height, width, _ = pixels.shape
    rows, columns = np.indices((height, width))
    places = np.einsum("ij,jyx->iyx", np.array(matrix), [columns, rows, np.ones_like(rows)])
    columns, rows = np.floor(places + 0.5).astype(int)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    result = np.full_like(pixels, 128)
    result[inside] = pixels[rows[inside], columns[inside]]
    return result


def rotation(height, width, degrees):
    """The matrix of `nearest` for a counterclockwise turn about the centre."""
    angle, middle = np.deg2rad(degrees), np.array([(width - 1) / 2, (height - 1) / 2])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, middle - turn @ middle])


def blend(poorer, pixels, factor):
    """In float32, the fraction cut off."""
    poorer = np.asarray(poorer, np.float32)
    blended = poorer + np.float32(factor) * (pixels.astype(np.float32) - poorer)
    return np.clip(blended, 0, 255).astype(np.uint8)


def grey_square(pixels, half, row, column):
    result = pixels.copy()
    result[max(0, row - half) : row + half, max(0, column - half) : column + half] = 128
    return result
