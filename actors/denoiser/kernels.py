"""The kernels of a network: products of matrices, and functions of single numbers."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.machine_code import (
    FLOAT,
    INT,
    LANES,
    POINTER,
    VECTOR,
    Code,
    Kind,
    Module,
    Number,
    Value,
    Written,
)

PANEL = 2 * LANES
"""Columns of a weight that lie side by side in memory."""
MOST_ROWS = 6
"""6 rows of 2 vectors, 2 weights and a factor fill the 16 registers of AVX2."""

Real = NDArray[np.float32]
Function = Callable[..., Value]
"""Of single numbers or vectors: writes code that gets one from others."""


def padded(columns: int) -> int:
    """Round up to whole panels."""
    return -(-columns // PANEL) * PANEL


def panels(weight: Real) -> Real:
    """Lay out a weight [K, N] as [N / 16, K, 16], filled up with zeros, on a cache line."""
    nb_in, nb_out = weight.shape
    whole = np.zeros((nb_in, padded(nb_out)), np.float32)
    whole[:, :nb_out] = weight
    return on_a_line(whole.reshape(nb_in, -1, PANEL).swapaxes(0, 1))


def on_a_line(array: Real) -> Real:
    """Copy an array to where a cache line begins."""
    copy = zeros_on_a_line(array.shape)
    copy[:] = array
    return copy


def zeros_on_a_line(shape: Sequence[int]) -> Real:
    """Make an array that begins where a cache line does."""
    size = 4 * math.prod(shape)
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(np.float32).reshape(shape)


class Gemm:
    """Y [M, N] = max(X [M, K] W + bias, floor), for W in panels.

    Each number is summed up in the order of K, whatever M is: a row's bits depend on it alone.
    """

    def __init__(self, module: Module) -> None:
        shapes = [(rows, 1) for rows in range(1, MOST_ROWS + 1)]
        shapes += [(1, 4), (1, 2), (2, 2), (3, 2)]
        self._tiles = {shape: _tile(module, *shape) for shape in shapes}
        self._function = self._write(module)

    def __call__(
        self,
        code: Code,
        x: tuple[Value, Number],
        rows: Number,
        weight: Real,
        bias: Real,
        y: tuple[Value, Number],
        *,
        floor: float = -math.inf,
        backwards: bool = False,
    ) -> None:
        """Multiply x by a weight in panels; x and y are a pointer and the distance of rows.

        `backwards` reads the weight's panels from the last to the first: the last ones are still
        in the cache if it was read just before.
        """
        count, nb_in, _ = weight.shape
        code.call(
            self._function,
            *x,
            rows,
            code.address(weight.ctypes.data),
            code.address(bias.ctypes.data),
            *y,
            nb_in,
            count,
            code.number(floor),
            int(backwards),
        )

    def _write(self, module: Module) -> Written:
        kinds = [POINTER, INT, INT, POINTER, POINTER, POINTER, INT, INT, INT, FLOAT, INT]
        code = Code(module, "gemm", kinds)
        x, x_rows, rows, weight, bias, y, y_rows, nb_in, count, floor, backwards = code.arguments
        # Few rows take several panels at a time: the sums of one would wait for each other.
        by_four = code.where(code.below(rows, 2), code.mul(code.divide(count, 4)[0], 4), 0)
        by_two = code.where(code.below(rows, 4), code.mul(code.divide(count, 2)[0], 2), 0)
        by_two = code.where(code.below(by_two, by_four), by_four, by_two)
        blocks = code.divide(code.add(rows, MOST_ROWS - 1), MOST_ROWS)[0]
        fewer, extra = code.divide(rows, blocks)

        def columns(first: Number, last: Number, width: int, most_rows: int) -> None:
            with code.loop(last, first, width) as forwards:
                mirrored = code.sub(code.sub(code.add(first, last), width), forwards)
                panel = code.where(code.below(0, backwards), mirrored, forwards)
                some = code.at(weight, code.mul(code.mul(panel, nb_in), PANEL))
                column = code.mul(panel, PANEL)
                with code.loop(blocks) as block:
                    is_larger = code.below(block, extra)
                    row = code.add(code.mul(block, fewer), code.where(is_larger, block, extra))
                    here = (
                        code.at(x, code.mul(row, x_rows)),
                        x_rows,
                        some,
                        code.mul(nb_in, PANEL),
                        code.at(bias, column),
                        code.at(y, code.mul(row, y_rows), column),
                        y_rows,
                        nb_in,
                        floor,
                    )
                    code.choose(
                        code.add(fewer, code.where(is_larger, 1, 0)),
                        range(1, most_rows + 1),
                        lambda rows: code.call(self._tiles[rows, width], *here),
                    )

        columns(0, by_four, 4, 1)
        columns(by_four, by_two, 2, 3)
        columns(by_two, count, 1, MOST_ROWS)
        return code.end()


def _tile(module: Module, rows: int, width: int) -> Written:
    """Write the product of some rows and panels, whose sums are all in registers."""
    kinds = [POINTER, INT, POINTER, INT, POINTER, POINTER, INT, INT, FLOAT]
    code = Code(module, f"tile_{rows}_{width}", kinds)
    x, x_rows, weight, weight_panels, bias, y, y_rows, nb_in, floor = code.arguments
    columns = [(panel, lane) for panel in range(width) for lane in range(0, PANEL, LANES)]
    biases = [code.load(code.at(bias, panel * PANEL + lane), VECTOR) for panel, lane in columns]
    sums = [[code.variable(value) for value in biases] for _ in range(rows)]
    x_row = [code.at(x, code.mul(x_rows, row)) for row in range(rows)]
    panel_start = [code.at(weight, code.mul(weight_panels, panel)) for panel in range(width)]
    with code.loop(nb_in) as k:
        weights = [
            code.load(code.at(panel_start[panel], code.mul(k, PANEL), lane), VECTOR)
            for panel, lane in columns
        ]
        for row in range(rows):
            factor = code.spread(code.load(code.at(x_row[row], k)))
            for total, value in zip(sums[row], weights, strict=True):
                code.store(code.fma(factor, value, code.load(total, VECTOR)), total)
    floors = code.spread(floor)
    for row in range(rows):
        y_row = code.at(y, code.mul(y_rows, row))
        for total, (panel, lane) in zip(sums[row], columns, strict=True):
            value = code.at_least(code.load(total, VECTOR), floors)
            code.store(value, code.at(y_row, panel * PANEL + lane))
    return code.end()


def each(code: Code, count: Number, write: Callable[[Value, Kind], None]) -> None:
    """Write something for all indices below a count: vectors first, then the numbers left over."""
    if not isinstance(count, int):
        vectors = code.mul(code.divide(count, LANES)[0], LANES)
        with code.loop(vectors, 0, LANES) as index:
            write(index, VECTOR)
        with code.loop(count, vectors) as index:
            write(index, FLOAT)
        return
    whole = count - count % LANES
    if whole:
        with code.loop(whole, 0, LANES) as index:
            write(index, VECTOR)
    if count > whole:
        with code.loop(count, whole) as index:
            write(index, FLOAT)


def gates(module: Module, width: int) -> Written:
    """Write the end of a step of a GRU (Cho et al. 2014), for one stream.

    It takes the gates' products with x and h, each [3, width] in the order z, r, n, the state h
    before and where to put the one after.
    """
    name = f"gates_{width}"
    if name in module.globals:
        return module.globals[name]
    code = Code(module, name, [POINTER] * 4)
    from_x, from_h, before, after = code.arguments

    def write(index: Value, kind: Kind) -> None:
        def load(pointer: Value, gate: int = 0) -> Value:
            return code.load(code.at(pointer, gate * width, index), kind)

        update = sigmoid(code, code.plus(load(from_x), load(from_h)))
        reset = sigmoid(code, code.plus(load(from_x, 1), load(from_h, 1)))
        new = tanh(code, code.fma(reset, load(from_h, 2), load(from_x, 2)))
        state = code.fma(update, code.minus(load(before), new), new)
        code.store(state, code.at(after, index))

    each(code, width, write)
    return code.end()


def sigmoid(code: Code, x: Value) -> Value:
    """Get 1 / (1 + exp(-x)), to 1e-7."""
    one = code.number(1, x.type)
    return code.over(one, code.plus(one, _exp(code, code.times(x, code.number(-1, x.type)))))


def tanh(code: Code, x: Value) -> Value:
    """Get 1 - 2 / (1 + exp(2 x)), to 1e-7."""
    one, two = code.number(1, x.type), code.number(2, x.type)
    return code.minus(one, code.over(two, code.plus(one, _exp(code, code.times(x, two)))))


def _exp(code: Code, x: Value) -> Value:
    """Get exp(x) = 2^n exp(r), |r| <= ln(2) / 2, the latter as a Taylor series; n is at most 126.

    Adding 1.5 * 2^23 rounds to a whole number, which is then in the float's lowest bits.
    """

    def number(value: float) -> Value:
        return code.number(float(np.float32(value)), x.type)

    x = code.at_most(code.at_least(x, number(-87)), number(87))
    shifted = code.fma(x, number(1 / math.log(2)), number(1.5 * 2**23))
    whole = code.minus(shifted, number(1.5 * 2**23))
    coarse = 0.693359375  # ln(2) in so few bits that its products with n are exact
    rest = code.fma(whole, number(-coarse), x)
    rest = code.fma(whole, number(coarse - math.log(2)), rest)
    total = number(1 / math.factorial(7))
    for power in range(6, -1, -1):
        total = code.fma(total, rest, number(1 / math.factorial(power)))
    return code.times_power_of_two(total, shifted)
