"""Machine code for this processor, written with LLVM at run time.

llvmlite is imported here and nowhere else. It is the compiler of numba without numba: what is
written here compiles in about a second, so no cache on a disk is needed.
"""

import ctypes
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import llvmlite.binding as llvm
from llvmlite import ir

FLOAT = ir.FloatType()
INT = ir.IntType(64)
POINTER = ir.PointerType()
LANES = 8
"""Floats in a vector: one register of AVX2, two of NEON."""
VECTOR = ir.VectorType(FLOAT, LANES)

Module = ir.Module
Kind: TypeAlias = Any
"""Of a value: FLOAT, VECTOR, INT or POINTER."""
Value: TypeAlias = Any
Written: TypeAlias = Any
"""A function that can be called."""
Number: TypeAlias = Any
"""An integer, known now or when the code runs."""


class Code:
    """A function while it is written. Pointers are to float32, offsets are in floats."""

    def __init__(self, module: ir.Module, name: str, arguments: Sequence[ir.Type]) -> None:
        signature = ir.FunctionType(ir.VoidType(), arguments)
        self.function = ir.Function(module, signature, name)
        self.arguments: Sequence[Value] = self.function.args
        self.module = module
        self._write = ir.IRBuilder(self.function.append_basic_block())

    def end(self) -> ir.Function:
        """Return to the caller."""
        self._write.ret_void()
        return self.function

    def call(self, function: ir.Function, *arguments: Number) -> None:
        self._write.call(function, [_int(each) for each in arguments])

    # Control

    @contextmanager
    def loop(self, end: Number, start: Number = 0, step: int = 1) -> Iterator[Value]:
        """Repeat what is written inside for the index that is yielded."""
        write = self._write
        before, head = write.block, write.append_basic_block()
        body, after = write.append_basic_block(), write.append_basic_block()
        write.branch(head)
        write.position_at_end(head)
        index = write.phi(INT)
        index.add_incoming(_int(start), before)
        write.cbranch(write.icmp_signed("<", index, _int(end)), body, after)
        write.position_at_end(body)
        yield index
        index.add_incoming(write.add(index, INT(step)), write.block)
        write.branch(head)
        write.position_at_end(after)

    def choose(self, value: Value, cases: Sequence[int], case: Callable[[int], None]) -> None:
        """Do one of the cases; none for any other value."""
        write = self._write
        after = write.append_basic_block()
        switch = write.switch(value, after)
        for number in cases:
            block = write.append_basic_block()
            switch.add_case(number, block)
            write.position_at_end(block)
            case(number)
            write.branch(after)
        write.position_at_end(after)

    # Integers

    def add(self, a: Number, b: Number) -> Value:
        return self._write.add(_int(a), _int(b))

    def sub(self, a: Number, b: Number) -> Value:
        return self._write.sub(_int(a), _int(b))

    def mul(self, a: Number, b: Number) -> Value:
        return self._write.mul(_int(a), _int(b))

    def divide(self, a: Number, b: Number) -> tuple[Value, Value]:
        """Get quotient and remainder of numbers that are not negative."""
        return self._write.udiv(_int(a), _int(b)), self._write.urem(_int(a), _int(b))

    def below(self, a: Number, b: Number) -> Value:
        return self._write.icmp_signed("<", _int(a), _int(b))

    def where(self, condition: Value, a: Number, b: Number) -> Value:
        return self._write.select(condition, _int(a), _int(b))

    # Memory

    def at(self, pointer: Value, *offsets: Number) -> Value:
        for offset in offsets:
            if not isinstance(offset, int) or offset:
                pointer = self._write.gep(pointer, [_int(offset)], source_etype=FLOAT)
        return pointer

    def address(self, address: int) -> Value:
        """Point to something that outlives the code."""
        return INT(address).inttoptr(POINTER)

    def load(self, pointer: Value, kind: ir.Type = FLOAT) -> Value:
        return self._write.load(pointer, typ=kind, align=4)

    def load_nth(self, table: Value, n: Number, kind: ir.Type) -> Value:
        """Load one of a table of pointers or integers."""
        return self._write.load(self._write.gep(table, [_int(n)], source_etype=kind), typ=kind)

    def store_nth(self, value: Value, table: Value, n: Number) -> None:
        """Store one of a table of integers."""
        self._write.store(value, self._write.gep(table, [_int(n)], source_etype=INT))

    def store(self, value: Value, pointer: Value) -> None:
        self._write.store(value, pointer, align=4)

    def variable(self, value: Value) -> Value:
        """Make a variable, to `load` and `store`; it lives in a register."""
        with self._write.goto_entry_block():
            variable = self._write.alloca(value.type)
        self._write.store(value, variable)
        return variable

    # Floats and vectors of them

    def number(self, value: float, kind: ir.Type = FLOAT) -> Value:
        return kind(value) if kind is FLOAT else kind([value] * LANES)

    def float(self, value: Value) -> Value:
        """Turn an integer into a float."""
        return self._write.sitofp(value, FLOAT)

    def spread(self, value: Value) -> Value:
        """Fill a vector with one number."""
        one = self._write.insert_element(VECTOR(ir.Undefined), value, ir.IntType(32)(0))
        lanes = ir.VectorType(ir.IntType(32), LANES)
        return self._write.shuffle_vector(one, VECTOR(ir.Undefined), lanes([0] * LANES))

    def plus(self, a: Value, b: Value) -> Value:
        return self._write.fadd(a, b)

    def minus(self, a: Value, b: Value) -> Value:
        return self._write.fsub(a, b)

    def times(self, a: Value, b: Value) -> Value:
        return self._write.fmul(a, b)

    def over(self, a: Value, b: Value) -> Value:
        return self._write.fdiv(a, b)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Get a * b + c, rounded once."""
        return self._intrinsic("fma", a, b, c)

    def sqrt(self, a: Value) -> Value:
        return self._intrinsic("sqrt", a)

    def log10(self, a: Value) -> Value:
        return self._intrinsic("log10", a)

    def _intrinsic(self, name: str, *arguments: Value) -> Value:
        kind = arguments[0].type
        name = f"llvm.{name}.{'f32' if kind == FLOAT else f'v{LANES}f32'}"
        signature = ir.FunctionType(kind, [kind] * len(arguments))
        function = self.module.globals.get(name) or ir.Function(self.module, signature, name)
        return self._write.call(function, arguments)

    def total(self, vector: Value) -> Value:
        """Sum up a vector."""
        lanes = [self._write.extract_element(vector, INT(lane)) for lane in range(LANES)]
        while len(lanes) > 1:
            lanes = [self.plus(a, b) for a, b in zip(lanes[::2], lanes[1::2], strict=True)]
        return lanes[0]

    def at_least(self, a: Value, floor: Value) -> Value:
        """Get the larger one; NaN stays NaN."""
        return self._write.select(self._write.fcmp_ordered("<", a, floor), floor, a)

    def at_most(self, a: Value, ceiling: Value) -> Value:
        """Get the smaller one; NaN stays NaN."""
        return self._write.select(self._write.fcmp_ordered(">", a, ceiling), ceiling, a)

    def less(self, a: Value, b: Value) -> Value:
        """Tell whether a float is less than another."""
        return self._write.fcmp_ordered("<", a, b)

    def times_power_of_two(self, a: Value, power: Value) -> Value:
        """Scale by two to the power that is in the lowest bits of a float's pattern."""
        integer = ir.IntType(32) if a.type == FLOAT else ir.VectorType(ir.IntType(32), LANES)
        shift = integer(23) if a.type == FLOAT else integer([23] * LANES)
        exponent = self._write.shl(self._write.bitcast(power, integer), shift)
        bits = self._write.add(self._write.bitcast(a, integer), exponent)
        return self._write.bitcast(bits, a.type)


class Compiled:
    """Functions of a module, to call from Python; the interpreter's lock is free meanwhile."""

    def __init__(self, module: ir.Module) -> None:
        machine = _machine()
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        _optimise(parsed, machine)
        self._engine = llvm.create_mcjit_compiler(parsed, machine)
        self._engine.finalize_object()

    def function(self, name: str, *arguments: Any) -> Callable[..., None]:
        """Get a function that takes arguments of these types of ctypes."""
        address = self._engine.get_function_address(name)
        function: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(address)
        return function


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Tidy up. The vectors are written already; LLVM's usual passes take four times as long."""
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_loop_rotate_pass()
    passes.add_new_gvn_pass()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


def can_compile() -> bool:
    """Tell whether this processor multiplies and adds in one instruction, as all of today's do."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    return bool(llvm.get_host_cpu_features().get("fma"))


def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )


def _int(value: Number) -> Value:
    return INT(value) if isinstance(value, int) else value
