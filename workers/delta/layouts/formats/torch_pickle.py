"""Dtypes of storages, read from a PyTorch `data.pkl` without unpickling it.

A pickle is a program. This module walks over its opcodes with `pickletools.genops` and looks for one pattern: the
tuple `("storage", <class torch.XStorage>, key, location, count)` before a persistent-id opcode. It never imports,
calls or builds anything that the pickle names. Source of the tuple: `torch/serialization.py`.
"""

from collections import deque
from contextlib import suppress
from pickletools import genops

MAX_PICKLE_BYTES = 8 << 20
MAX_TEXT_CHARACTERS = 1024

_DTYPES = {
    "FloatStorage": "f32",
    "HalfStorage": "f16",
    "BFloat16Storage": "bf16",
    "DoubleStorage": "f64",
    "LongStorage": "i64",
    "IntStorage": "i32",
    "ShortStorage": "i16",
    "CharStorage": "i8",
    "ByteStorage": "u8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "c64",
    "ComplexDoubleStorage": "c128",
    "QInt8Storage": "i8",
    "QUInt8Storage": "u8",
    "QInt32Storage": "i32",
    "QUInt4x2Storage": "u4",
    "QUInt2x4Storage": "u2",
}
# Dtypes without a storage class of their own follow an untyped storage by name.
_UNTYPED_STORAGE_DTYPES = {
    "float8_e4m3fn": "f8_e4m3",
    "float8_e5m2": "f8_e5m2",
    "float8_e4m3fnuz": "f8_e4m3fnuz",
    "float8_e5m2fnuz": "f8_e5m2fnuz",
    "float8_e8m0fnu": "f8_e8m0",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
}
_TEXT_OPCODES = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_PUT_OPCODES = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GET_OPCODES = {"GET", "BINGET", "LONG_BINGET"}
_POPPED_BY_TUPLE = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def storage_dtypes(pickled: bytes) -> dict[str, str]:
    """Map each storage key that the pickle names to its canonical dtype.

    Storages of unknown dtype are left out. If the pickle is malformed or longer than 8 MiB, the result is what was
    found up to there.
    """
    walk = _StackWalk()
    # An invalid escape in a string is a warning, which is an exception where warnings are errors.
    with suppress(ValueError, DeprecationWarning):
        for opcode, argument, _ in genops(pickled[:MAX_PICKLE_BYTES]):
            walk.step(opcode.name, argument)
    return walk.dtypes


class _StackWalk:
    """The last 16 values of the unpickler's stack, as far as they are texts, classes or tuples of five.

    A text is a `str`, a class a pair of module and name; anything else is None.
    """

    def __init__(self) -> None:
        self.dtypes: dict[str, str] = {}
        self._stack: deque[object] = deque(maxlen=16)
        self._memo: dict[object, object] = {}
        self._memoized = 0
        self._untyped_key: str | None = None

    def step(self, opcode: str, argument: object) -> None:
        if opcode in _TEXT_OPCODES:
            self._stack.append(_bounded_text(argument))
        elif opcode in {"GLOBAL", "STACK_GLOBAL"}:
            self._push_class(argument)
        elif opcode in _PUT_OPCODES:
            self._put(self._memoized if opcode == "MEMOIZE" else argument)
        elif opcode in _GET_OPCODES:
            self._stack.append(self._memo.get(argument))
        elif opcode == "MARK":
            self._stack.append(_MARK)
        elif opcode == "TUPLE":
            self._push_tuple()
        elif opcode == "BINPERSID":
            self._read_persistent_id(self._pop())
        elif opcode not in {"PROTO", "FRAME"}:
            for _ in range(_POPPED_BY_TUPLE.get(opcode, 0)):
                self._pop()
            self._stack.append(None)
        self._read_dtype_of_untyped_storage()

    def _push_class(self, argument: object) -> None:
        if argument is None:
            name, module = str(self._pop()), str(self._pop())
        else:  # GLOBAL: module and name, joined by a space
            module, _, name = _bounded_text(argument).partition(" ")
        self._stack.append((module, name))

    def _put(self, index: object) -> None:
        self._memoized += 1
        if self._stack and isinstance(self._stack[-1], str | tuple):
            self._memo[index] = self._stack[-1]

    def _push_tuple(self) -> None:
        items: list[object] = []
        while self._stack and (item := self._stack.pop()) is not _MARK:
            items.append(item)
        self._stack.append(tuple(reversed(items)) if len(items) == 5 else None)

    def _read_persistent_id(self, value: object) -> None:
        self._stack.append(None)
        match value:
            case ("storage", (_, str(name)), str(key), _, _):
                self._untyped_key = key if name == "UntypedStorage" else None
                dtype = _DTYPES.get(name)
                if dtype:
                    # One storage with two dtypes: neither can be trusted.
                    self.dtypes[key] = dtype if self.dtypes.get(key, dtype) == dtype else "bytes"

    def _read_dtype_of_untyped_storage(self) -> None:
        match self._stack[-1] if self._stack else None:
            case ("torch", str(name)) if self._untyped_key is not None and name in _UNTYPED_STORAGE_DTYPES:
                self.dtypes.setdefault(self._untyped_key, _UNTYPED_STORAGE_DTYPES[name])
                self._untyped_key = None

    def _pop(self) -> object:
        return self._stack.pop() if self._stack else None


def _bounded_text(argument: object) -> str:
    text = str(argument)
    return text if len(text) <= MAX_TEXT_CHARACTERS else ""
