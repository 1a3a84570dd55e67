"""The kernels, a folder for each backend; imported when they are first used."""

from . import forks as forks  # from the start: it must see every fork
