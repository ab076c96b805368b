"""A network as machine code: scheduled for the caches, compiled, and run on any streams."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actors.denoiser.graph import Network
from actors.denoiser.kernels import Gemm
from actors.denoiser.machine_code import INT, POINTER, Code, Compiled, Module, Value, Written
from actors.denoiser.network_plan import NetworkPlan, Operation, Packed, Place
from actors.denoiser.views import Buffer

Run = Callable[[int, int, int, int], None]
"""Takes n streams: n, their slots [n] int64, scratch memory, and the addresses of `table`."""

_LINE = 16  # floats
_ARGUMENTS = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True)
class Segment:
    """Operations that run one after the other: on each stream in turn, or on all streams."""

    wide: bool
    operations: Sequence[Operation]


class CompiledNetwork:
    """The code of a network, for each number of hops at a time. Any number of threads may run it.

    Attributes:
        states: how many floats each state has for a stream, by name; zeros at the start.
        table: whose addresses `run` takes: features, answers and states, by name.
    """

    def __init__(self, networks: Mapping[int, Network]) -> None:
        """Compile. Raises ModelError if a network has something that there is no kernel for."""
        packed = Packed()
        layouts = NetworkPlan(networks[1], {}, packed).layouts()
        plans = {hops: NetworkPlan(each, layouts, packed) for hops, each in networks.items()}
        self.states = {name: view.buffer.size for name, view in plans[1].states.items()}
        self.table = (*plans[1].given, *self.states)
        self._packed = packed  # the code has their addresses
        self._memory = {hops: _Memory(plan) for hops, plan in plans.items()}
        module = Module("network")
        gemm = Gemm(module)
        for hops, memory in self._memory.items():
            _Writer(module, gemm, hops, memory, self.table).write()
        compiled = Compiled(module)
        self.run: Mapping[int, Run] = {
            hops: compiled.function(f"step{hops}", *_ARGUMENTS) for hops in networks
        }
        """By the number of hops."""
        self._compiled = compiled

    def scratch_floats(self, streams: int) -> int:
        """Get how much scratch memory so many streams need."""
        return max(memory.floats(streams) for memory in self._memory.values())


class _Writer:
    """Writes a network's code for a number of hops."""

    def __init__(
        self, module: Module, gemm: Gemm, hops: int, memory: "_Memory", table: Sequence[str]
    ) -> None:
        self._module, self._gemm, self._hops = module, gemm, hops
        self._memory, self._table = memory, table

    def write(self) -> None:
        parts = [
            (segment.wide, self._part(f"part{self._hops}_{n}", segment))
            for n, segment in enumerate(self._memory.segments)
        ]
        code = Code(self._module, f"step{self._hops}", [INT, POINTER, POINTER, POINTER])
        streams, slots, scratch, table = code.arguments
        for wide, part in parts:
            if wide:
                code.call(part, streams, 0, 0, scratch, table)
            else:
                with code.loop(streams) as stream:
                    slot = code.load_nth(slots, stream, INT)
                    code.call(part, streams, stream, slot, scratch, table)
        code.end()

    def _part(self, name: str, segment: Segment) -> Written:
        code = Code(self._module, name, [INT, INT, INT, POINTER, POINTER])
        streams, stream, slot, scratch, table = code.arguments
        used = [each for op in segment.operations for each in (*op.reads, *op.writes)]
        memory: dict[Buffer, Value] = {}
        for buffer in dict.fromkeys(used):
            if buffer.kind == "scratch":
                memory[buffer] = self._memory.at(code, buffer, scratch, streams, stream)
            else:
                pointer = code.load_nth(table, self._table.index(buffer.name), POINTER)
                row = slot if buffer.kind == "state" else stream
                memory[buffer] = code.at(pointer, code.mul(row, buffer.size))
        for operation in segment.operations:
            operation.write(Place(code, self._gemm, streams, memory), operation)
        return code.end()


class _Memory:
    """Where a network's scratch memory is; buffers that are needed at other times may share it.

    At the front is what one stream uses after the other, so that it stays in the cache. Behind it
    is what all streams have at a time.
    """

    def __init__(self, plan: NetworkPlan) -> None:
        self.segments = segments(plan.operations)
        uses: dict[Buffer, list[tuple[int, int]]] = {}  # segment and operation, by number
        ends = []
        number = 0
        for part, segment in enumerate(self.segments):
            for operation in segment.operations:
                for buffer in {*operation.reads, *operation.writes}:
                    if buffer.kind == "scratch":
                        uses.setdefault(buffer, []).append((part, number))
                number += 1
            ends.append(number - 1)
        local, shared = dict[Buffer, range](), dict[Buffer, range]()
        for buffer, (*_, last) in uses.items():
            first = uses[buffer][0]
            if first[0] == last[0] and not self.segments[first[0]].wide:
                local[buffer] = range(first[1], last[1] + 1)
                continue
            # Of one segment, the next stream's first operation comes after this stream's last.
            starts = [0, *(end + 1 for end in ends)]
            start = first[1] if self.segments[first[0]].wide else starts[first[0]]
            end = last[1] if self.segments[last[0]].wide else ends[last[0]]
            shared[buffer] = range(start, end + 1)
        self._local, self._local_end = _packed(local)
        self._shared, self._shared_end = _packed(shared)

    def floats(self, streams: int) -> int:
        return self._local_end + streams * self._shared_end

    def at(
        self, code: Code, buffer: Buffer, scratch: Value, streams: Value, stream: Value
    ) -> Value:
        if buffer in self._local:
            return code.at(scratch, self._local[buffer])
        start = code.mul(streams, self._shared[buffer])
        return code.at(scratch, self._local_end, start, code.mul(stream, buffer.size))


def segments(operations: Sequence[Operation]) -> list[Segment]:
    """Put operations on single streams together, as early as they can run."""
    left, done = list(operations), set[Operation]()
    needs = _needs(operations)
    made: list[Segment] = []
    wide = False
    while left:
        now: list[Operation] = []
        for operation in left:
            if operation.wide == wide and needs[operation] <= done:
                now.append(operation)
                done.add(operation)
        left = [operation for operation in left if operation not in done]
        if now:
            made.append(Segment(wide, now))
        wide = not wide
    return made


def _needs(operations: Sequence[Operation]) -> dict[Operation, set[Operation]]:
    """Find which operations must come before each: those whose memory it reads or overwrites."""
    needs: dict[Operation, set[Operation]] = {}
    for n, operation in enumerate(operations):
        reads, writes = set(operation.reads), set(operation.writes)
        needs[operation] = {
            before
            for before in operations[:n]
            if (reads | writes) & set(before.writes) or writes & set(before.reads)
        }
    return needs


def _packed(spans: Mapping[Buffer, range]) -> tuple[dict[Buffer, int], int]:
    """Give buffers their offsets, and get the end of them all: the large ones come first."""
    offsets: dict[Buffer, int] = {}
    for buffer in sorted(spans, key=lambda buffer: -buffer.size):
        span = spans[buffer]
        others = sorted(
            (offsets[each], n, each)
            for n, each in enumerate(offsets)
            if spans[each].start < span.stop and span.start < spans[each].stop
        )
        offset = 0
        for start, _, other in others:
            if offset + _lines(buffer) <= start:
                break
            offset = max(offset, start + _lines(other))
        offsets[buffer] = offset
    return offsets, max((offsets[each] + _lines(each) for each in offsets), default=0)


def _lines(buffer: Buffer) -> int:
    return -(-buffer.size // _LINE) * _LINE
