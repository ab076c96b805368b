"""Where the numbers of a tensor are in memory, through reshapes and transpositions.

An axis of a tensor may be any product of strides. Reshaping and transposing thus move nothing, and
kernels choose the order in memory that suits them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from actors.denoiser.weights import ModelError

BATCH = 65521
"""Stands for the number of streams while shapes are computed: a prime, so it cannot be split."""

Shape = Sequence[int]


class Atom(NamedTuple):
    """Numbers at equal distances."""

    size: int
    stride: int


Axis = tuple[Atom, ...]


@dataclass(eq=False)
class Buffer:
    """Memory of each stream; floats."""

    size: int
    kind: Literal["scratch", "given", "state"] = "scratch"
    name: str = ""


@dataclass(frozen=True)
class View:
    """A tensor in a buffer. The streams' axis has no stride: each stream has its own memory."""

    buffer: Buffer
    axes: tuple[Axis, ...]
    offset: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(_size(axis) for axis in self.axes)

    def transpose(self, order: Shape) -> "View":
        return replace(self, axes=tuple(self.axes[axis] for axis in order))

    def reshape(self, shape: Shape) -> "View":
        """Reshape as in ONNX: 0 keeps an axis, one -1 takes what is left."""
        sizes = [size or self.shape[axis] for axis, size in enumerate(shape)]
        known = math.prod(size for size in sizes if size > 0)
        sizes = [size if size > 0 else math.prod(self.shape) // known for size in sizes]
        left = list(merged([atom for axis in self.axes for atom in axis]))
        axes = tuple(_take(left, size) for size in sizes)
        if left:
            raise ModelError(f"{self.shape} cannot become {shape}")
        return replace(self, axes=axes)

    def slice(self, axis: int, start: int, end: int, step: int = 1) -> "View":
        count = -(-(end - start) // step)
        if start == 0 and count == self.shape[axis]:
            return self
        (atom,) = self.axis(axis)
        part = _atoms(count, atom.stride * step)
        axes = (*self.axes[:axis], part, *self.axes[axis + 1 :])
        return replace(self, axes=axes, offset=self.offset + start * atom.stride)

    def axis(self, axis: int) -> Axis:
        """Get an axis in as few atoms as possible."""
        return merged(self.axes[axis])

    def single(self, axis: int) -> Atom:
        """Get an axis that is one atom. Raises ModelError if it is not."""
        atoms = self.axis(axis) or (Atom(1, 0),)
        if len(atoms) > 1:
            raise ModelError(f"axis {axis} of {self.shape} is not at equal distances")
        return atoms[0]


def row_major(buffer_kind: Literal["scratch", "given", "state"], name: str, shape: Shape) -> View:
    """Make a buffer for a tensor, its last axis side by side in memory."""
    strides = [1]
    for size in reversed([1 if size == BATCH else size for size in shape]):
        strides.append(strides[-1] * size)
    axes = tuple(
        _atoms(size, 0 if size == BATCH else stride)
        for size, stride in zip(shape, reversed(strides[:-1]), strict=True)
    )
    return View(Buffer(strides[-1], buffer_kind, name), axes)


def like(view: View, *, axis: int | None = None, size: int = 0, order: Shape | None = None) -> View:
    """Make a buffer for a tensor of the same shape, without holes.

    Its order in memory is that of the view, or the order of axes from the outermost to the
    innermost. One axis may have another size.
    """
    axes = [list(each) for each in view.axes]
    if axis is not None:
        # An axis of one has no stride: it comes first.
        stride = view.single(axis).stride or view.buffer.size
        axes[axis] = [Atom(size, stride)] if size > 1 else []
    places = [
        (-atom.stride if order is None else order.index(n), n, m)
        for n, each in enumerate(axes)
        for m, atom in enumerate(each)
        if atom.size != BATCH
    ]
    total = 1
    for _, n, m in sorted(places, reverse=True):
        axes[n][m] = Atom(axes[n][m].size, total)
        total *= axes[n][m].size
    return View(Buffer(total), tuple(tuple(each) for each in axes))


def aligned(views: Sequence[View]) -> list[tuple[int, tuple[int, ...]]]:
    """Get the loops over tensors of one shape: sizes and strides, the outermost first.

    Streams are no loop of these.
    """
    loops = []
    for axes in zip(*(view.axes for view in views), strict=True):
        left = [list(axis) for axis in axes]
        while left[0]:
            size = min(atoms[0].size for atoms in left)
            parts = [_take(atoms, size)[0] for atoms in left]
            if size != BATCH:
                loops.append((size, tuple(part.stride for part in parts)))
    loops.sort(key=lambda loop: loop[1], reverse=True)
    joined: list[tuple[int, tuple[int, ...]]] = []
    for size, strides in loops:
        if joined and all(
            outer == size * inner for outer, inner in zip(joined[-1][1], strides, strict=True)
        ):
            joined[-1] = joined[-1][0] * size, strides
        else:
            joined.append((size, strides))
    return joined or [(1, (1,) * len(views))]


def merged(atoms: Sequence[Atom]) -> Axis:
    """Join neighbours that are one run of numbers at equal distances."""
    joined: list[Atom] = []
    for atom in atoms:
        last = joined[-1] if joined else None
        if last and BATCH not in (last.size, atom.size) and last.stride == atom.size * atom.stride:
            joined[-1] = Atom(last.size * atom.size, atom.stride)
        else:
            joined.append(atom)
    return tuple(joined)


def _atoms(size: int, stride: int) -> Axis:
    return (Atom(size, stride),) if size > 1 else ()


def _size(axis: Axis) -> int:
    return math.prod(atom.size for atom in axis)


def _take(atoms: list[Atom], size: int) -> Axis:
    """Take this many numbers from the front of a list of atoms."""
    taken = []
    while size > 1:
        if not atoms:
            raise ModelError("a shape does not fit")
        first = atoms.pop(0)
        if size % first.size == 0:
            taken.append(first)
            size //= first.size
        elif first.size % size == 0 and first.size != BATCH:
            rest = first.size // size
            taken.append(Atom(size, first.stride * rest))
            atoms.insert(0, Atom(rest, first.stride))
            size = 1
        else:
            raise ModelError(f"{first.size} numbers at equal distances cannot be {size}")
    return tuple(taken)
