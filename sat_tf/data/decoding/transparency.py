"""What is behind transparent pixels."""

WHITE = 255  # as most viewers and all printers show it


def on_white(levels):
    """Returns colour * alpha + WHITE * (1 - alpha), rounded.

    Args:
      levels: int32 [..., 4], array or tensor: red, green, blue and alpha, 0 to 255.
    Returns: int32 [..., 3], of the same kind.
    """
    colour, alpha = levels[..., :3], levels[..., 3:]
    return (colour * alpha + WHITE * (255 - alpha) + 127) // 255
