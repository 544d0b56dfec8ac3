"""How tasks share the intermediate phase: mixing probabilities, hash-nested samples and the order of the examples.

All randomness is the raw output of counter-based Philox generators, keyed by a hash of what it belongs to. NumPy
keeps that stream stable over versions (the streams of `Generator`'s methods it does not). Nothing depends on global
state, on the machine, or on the order in which tasks or examples are listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xlray.errors import require


def probabilities(sizes: Sequence[int], mixing: str, cap: int, temperature: float) -> NDArray[np.float64]:
    """Probability with which each task is drawn.

    Examples-proportional mixing with an artificial cap and a temperature (Raffel et al. 2020, section 3.5.2; Phang et
    al. 2020 with cap 2^17 and temperature 1): `p ~ min(n, cap) ** (1 / temperature)`.

    Args:
        sizes: number of training examples of each task, at least 1.
        mixing: "proportional", or "uniform", which looks at neither sizes, cap nor temperature.
        cap: largest number of examples that counts.
        temperature: above 1 moves the probabilities towards uniform.

    Returns:
        [num_tasks] float64, sums to 1.

    Raises:
        InputError: for no tasks, an empty task, an unknown mixing, or a cap or temperature that is not positive.
    """
    where = "mixture.probabilities"
    require(len(sizes) > 0, "sizes is not empty", list(sizes), where)
    require(min(sizes) >= 1, "every size >= 1", list(sizes), where)
    require(mixing in ("proportional", "uniform"), "mixing in ('proportional', 'uniform')", mixing, where)
    require(cap > 0, "cap > 0", cap, where)
    require(temperature > 0, "temperature > 0", temperature, where)
    if mixing == "uniform":
        return np.full(len(sizes), 1 / len(sizes))
    counts = np.minimum(np.asarray(sizes, dtype=np.float64), cap)
    weights = (counts / counts.max()) ** (1 / temperature)  # relative to the largest, so that no power overflows
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def nested_sample(ids: Sequence[str], num: int | None, salt: str) -> NDArray[np.int64]:
    """The `num` examples whose hash of (salt, id) is smallest: a sample that is contained in every larger one.

    Args:
        ids: distinct ids of the examples, in any order.
        num: size of the sample; None, or more than there are, takes all.
        salt: what the sample is for; other salts give other samples.

    Returns:
        [min(num, len(ids))] int64, positions in `ids`, ascending.

    Raises:
        InputError: for a negative `num` or ids that are not distinct.
    """
    where = "mixture.nested_sample"
    if num is None:
        return np.arange(len(ids), dtype=np.int64)
    require(num >= 0, "num >= 0", num, where)
    return np.sort(hashed_order(ids, salt)[:num])


def hashed_order(ids: Sequence[str], salt: str) -> NDArray[np.int64]:
    """[len(ids)] int64, positions in `ids` in the order of their hashes of (salt, id).

    Raises:
        InputError: the ids are not distinct.
    """
    start = _hasher(salt)
    digests = bytearray()
    for name in ids:
        hasher = start.copy()
        hasher.update(name.encode())
        digests += hasher.digest()
    hashes = np.frombuffer(digests, dtype="<u8")
    ranked = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[ranked[1:]] == hashes[ranked[:-1]])
    require(not len(equal), "ids are distinct", [ids[ranked[i]] for i in equal[:3]], "mixture.hashed_order")
    return ranked.astype(np.int64)


def order(
    names: Sequence[str],
    sizes: Sequence[int],
    probabilities: Sequence[float] | NDArray[np.float64],
    num_examples: int,
    seed: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The order in which a phase sees its examples.

    The task of a position is drawn from the probabilities. The k-th use of a task of n examples takes place k % n of a
    permutation that belongs to (seed, task, epoch k // n): every example is used once before any is used twice. The
    order of fewer examples is a prefix of the order of more; what one task shows does not depend on which other tasks
    there are, only when it is shown does.

    Args:
        names: distinct task names; the result does not depend on the order in which they are listed.
        sizes: number of examples of each task.
        probabilities: of each task; sums to 1. A task with probability 0 is never drawn and may be empty.
        num_examples: positions to fill, N.
        seed: of the order.

    Returns:
        task_index [N] int32 into `names`, and example_index [N] int64 into the examples of that task. Memory is about
        40 bytes per position.

    Raises:
        InputError: for lists of different lengths, repeated names, probabilities that do not sum to 1, or a task that
            can be drawn but has no examples.
    """
    chances = np.asarray(probabilities, dtype=np.float64)
    _check_order(names, sizes, chances, num_examples)
    tasks = _draw_tasks(names, chances, num_examples, seed)
    examples = np.empty(num_examples, dtype=np.int64)
    # Sixteen-bit keys are sorted by counting, which makes this linear in the number of positions.
    by_task = np.argsort(tasks.astype(np.uint16), kind="stable")
    ends = np.cumsum(np.bincount(tasks, minlength=len(names)))
    for task, (name, size) in enumerate(zip(names, sizes, strict=True)):
        uses = by_task[ends[task - 1] if task else 0 : ends[task]]
        if len(uses):
            examples[uses] = _uses(name, size, len(uses), seed)
    return tasks, examples


def _check_order(
    names: Sequence[str],
    sizes: Sequence[int],
    chances: NDArray[np.float64],
    num_examples: int,
) -> None:
    where = "mixture.order"
    require(
        len(names) == len(sizes) == len(chances),
        "names, sizes and probabilities have one length",
        (len(names), len(sizes), len(chances)),
        where,
    )
    require(len(set(names)) == len(names), "names are distinct", list(names), where)
    require(len(names) <= 2**16, "num_tasks <= 65536", len(names), where)
    require(num_examples >= 0, "num_examples >= 0", num_examples, where)
    summed = len(chances) > 0 and chances.min() >= 0 and abs(chances.sum() - 1) < 1e-6
    require(summed, "probabilities are at least 0 and sum to 1", chances.tolist(), where)
    empty = [name for name, size, chance in zip(names, sizes, chances, strict=True) if chance > 0 and size < 1]
    require(not empty, "every task that can be drawn has an example", empty, where)


def _draw_tasks(names: Sequence[str], chances: NDArray[np.float64], num: int, seed: int) -> NDArray[np.int32]:
    """Task of each of `num` draws, [num] int32."""
    ranked = np.asarray(sorted(range(len(names)), key=names.__getitem__), dtype=np.int32)
    bounds = np.cumsum(chances[ranked])
    bounds /= bounds[-1]  # exactly 1 at the end, above every draw
    uniform = (_philox("order of tasks", str(seed)).random_raw(num) >> np.uint64(11)) * 2.0**-53
    return ranked[np.searchsorted(bounds, uniform, side="right")]


def _uses(name: str, size: int, num: int, seed: int) -> NDArray[np.int64]:
    """Examples of the first `num` uses of a task, [num] int64.

    Row e of the keys is the counter range of epoch e. Sorting the rows gives all epochs' permutations at once, which
    matters for a task of ten examples that is repeated a million times.
    """
    num_epochs = -(-num // size)
    keys = _philox("order of examples", str(seed), name).random_raw(num_epochs * size).reshape(num_epochs, size)
    return np.argsort(keys, axis=1, kind="stable").astype(np.int64, copy=False).reshape(-1)[:num]


def _hasher(*parts: str) -> hashlib.blake2b:
    """A hash of the parts, in which ("a", "bc") and ("ab", "c") differ."""
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        encoded = part.encode()
        hasher.update(len(encoded).to_bytes(8, "little") + encoded)
    return hasher


def _philox(*parts: str) -> np.random.Philox:
    return np.random.Philox(key=int.from_bytes(_hasher(*parts).digest(), "little"))
