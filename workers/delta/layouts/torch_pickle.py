"""Element kinds of storages, read off a PyTorch `data.pkl` without running it.

A pickle is a program. This walks over its opcodes and looks for one shape only: the tuple
`("storage", <class torch.XStorage>, key, location, count)` in front of a persistent-id opcode. Nothing is imported,
called or built, so what the program would do does not matter. Opcodes: Python's `pickletools`; the tuple:
`torch/serialization.py`.
"""

from collections import deque

MAX_PICKLE_BYTES = 8 << 20
MAX_TEXT_BYTES = 1024

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
# Kinds without a storage class of their own are named behind an untyped storage.
_LATE_DTYPES = {
    "float8_e4m3fn": "f8_e4m3",
    "float8_e5m2": "f8_e5m2",
    "float8_e4m3fnuz": "f8_e4m3fnuz",
    "float8_e5m2fnuz": "f8_e5m2fnuz",
    "float8_e8m0fnu": "f8_e8m0",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
}
_FIXED = dict.fromkeys(b"(012NRQ.abdelosut)]}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98", 0)
_FIXED |= dict.fromkeys(b"Khq\x80\x82", 1) | dict.fromkeys(b"M\x83", 2)
_FIXED |= dict.fromkeys(b"Jjr\x84", 4) | dict.fromkeys(b"G\x95", 8)
_LINES = dict.fromkeys(b"ILFSVPgp", 1) | dict.fromkeys(b"ci", 2)
_COUNTED = dict.fromkeys(b"UC\x8c\x8a", 1) | dict.fromkeys(b"XTB\x8b", 4) | dict.fromkeys(b"\x8d\x8e\x96", 8)
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_MARK = object()


def storage_dtypes(program: bytes) -> dict[str, str]:
    """The canonical dtype of each storage key that the pickle names.

    What cannot be told is left out; a pickle that is broken or longer than 8 MiB gives what was found before.
    """
    walk = _Walk()
    position = 0
    while position < min(len(program), MAX_PICKLE_BYTES):
        code = program[position]
        begin, end = _argument(program, position + 1, code)
        if end < 0 or end > len(program):
            break
        walk.step(code, program[begin:end] if end - begin <= MAX_TEXT_BYTES else b"")
        position = end
    return walk.dtypes


def _argument(program: bytes, at: int, code: int) -> tuple[int, int]:
    if code in _FIXED:
        return at, at + _FIXED[code]
    if code in _COUNTED:
        begin = at + _COUNTED[code]
        return begin, begin + int.from_bytes(program[at:begin], "little")
    end = at
    for _ in range(_LINES.get(code, 0)):
        end = program.find(b"\n", end) + 1
        if end == 0:
            return at, -1
    return at, end if end > at else -1


class _Walk:
    """The last few values of the pickle's stack, as far as they are texts, classes or tuples of five."""

    def __init__(self) -> None:
        self.dtypes: dict[str, str] = {}
        self._recent: deque[object] = deque(maxlen=16)
        self._memo: dict[int, object] = {}
        self._memoized = 0
        self._untyped: str | None = None

    def step(self, code: int, argument: bytes) -> None:
        if code in b"X\x8c\x8d":
            self._recent.append(argument.decode(errors="replace"))
        elif code in b"c\x93":
            self._class(code, argument)
        elif code in b"qr\x94p":
            self._put(code, argument)
        elif code in b"hjg":
            self._recent.append(self._memo.get(_index(code, argument)))
        elif code == ord("("):
            self._recent.append(_MARK)
        elif code == ord("t"):
            self._tuple()
        elif code == ord("Q"):
            self._persistent_id(self._pop())
        elif code not in b"\x80\x95":
            for _ in range(_TUPLES.get(code, 0)):
                self._pop()
            self._recent.append(None)
        self._note_late_dtype()

    def _class(self, code: int, argument: bytes) -> None:
        if code == ord("c"):
            module, _, name = argument.decode(errors="replace").rstrip("\n").partition("\n")
        else:
            name, module = str(self._pop()), str(self._pop())
        self._recent.append((module, name))

    def _put(self, code: int, argument: bytes) -> None:
        index = self._memoized if code == 0x94 else _index(code, argument)
        self._memoized += 1
        if self._recent and isinstance(self._recent[-1], str | tuple):
            self._memo[index] = self._recent[-1]

    def _tuple(self) -> None:
        items: list[object] = []
        while self._recent and (item := self._recent.pop()) is not _MARK:
            items.append(item)
        self._recent.append(tuple(reversed(items)) if len(items) == 5 else None)

    def _persistent_id(self, value: object) -> None:
        self._recent.append(None)
        match value:
            case ("storage", (_, str(name)), str(key), _, _):
                self._untyped = key if name == "UntypedStorage" else None
                dtype = _DTYPES.get(name)
                if dtype:
                    # One storage under two kinds: neither can be trusted.
                    self.dtypes[key] = dtype if self.dtypes.get(key, dtype) == dtype else "bytes"

    def _note_late_dtype(self) -> None:
        match self._recent[-1] if self._recent else None:
            case ("torch", str(name)) if self._untyped is not None and name in _LATE_DTYPES:
                self.dtypes.setdefault(self._untyped, _LATE_DTYPES[name])
                self._untyped = None

    def _pop(self) -> object:
        return self._recent.pop() if self._recent else None


def _index(code: int, argument: bytes) -> int:
    if code in b"pg":
        text = argument.strip()
        return int(text) if text.isdigit() and len(text) < 20 else -1
    return int.from_bytes(argument, "little")
