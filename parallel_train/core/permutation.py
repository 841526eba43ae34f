"""A permutation of range(count) that is never laid out: each position is worked out by itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

_ROUNDS = 8


def order(count: int, seed: int) -> Callable[[int], int]:
    """A permutation of range(count), as a function: position -> index. Equal on every machine for equal `seed`.

    A Feistel network over pairs (left, right) of numbers, with addition modulo the two sides, and cycle walking for
    the few pairs that lie beyond `count`: J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains"
    (CT-RSA 2002), which names both. The round function is BLAKE2b with the seed as its key.

    It mixes well enough to draw from a search space; it hides nothing.
    """
    side = max(1, math.isqrt(max(0, count - 1)) + 1)
    other = max(1, -(-count // side))
    keyed = [hashlib.blake2b(f"{seed}/{turn}/".encode(), digest_size=16) for turn in range(_ROUNDS)]

    def turned(turn: int, number: int) -> int:
        made = keyed[turn].copy()
        made.update(number.to_bytes(32, "big"))
        return int.from_bytes(made.digest(), "big")

    def at(position: int) -> int:
        if not 0 <= position < count:
            raise IndexError(f"there is no position {position} among {count:,}")
        while True:
            left, right = divmod(position, other)
            for turn in range(0, _ROUNDS, 2):
                left = (left + turned(turn, right)) % side
                right = (right + turned(turn + 1, left)) % other
            position = left * other + right
            if position < count:
                return position

    return at
