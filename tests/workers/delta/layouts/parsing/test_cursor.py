import pytest

from tests.workers.delta.layouts.writers import Bytes, Sparse
from workers.delta.layouts import MalformedFile
from workers.delta.layouts.parsing.cursor import Cursor


def test_bytes_are_returned_in_order_after_skips():
    raw = bytes(number % 251 for number in range(200_000))
    cursor = Cursor(Bytes(raw), "gguf", budget=1 << 20)
    for take, skip in [(10, 0), (20_000, 5), (1, 70_000), (50_000, 0), (7, 3)]:
        at = cursor.position
        assert cursor.take(take, "x") == raw[at : at + take]
        cursor.skip(skip, "x")
    assert cursor.position == 10 + 20_005 + 70_001 + 50_000 + 10


def test_sequential_reads_are_few_and_growing():
    reader = Bytes(bytes(3_000_000))
    cursor = Cursor(reader, "gguf", budget=1 << 24)
    for _ in range(3_000_000 // 100):
        cursor.take(100, "x")
    assert reader.reads < 8
    assert reader.taken == 3_000_000


def test_bytes_after_the_end_are_never_requested():
    cursor = Cursor(Bytes(b"abc"), "gguf", budget=100)
    for ask in (cursor.take, cursor.skip):
        with pytest.raises(MalformedFile) as caught:
            ask(4, "the name")
        assert caught.value.code == "truncated"
        assert "the name at byte 0 needs 4 bytes, the file has 3 more" in caught.value.detail
    assert cursor.take(3, "the rest") == b"abc"


def test_taken_bytes_are_limited_and_skipped_bytes_are_not():
    cursor = Cursor(Sparse(b"", 1 << 40), "gguf", budget=10)
    cursor.skip(1 << 39, "weights")
    cursor.take(10, "x")
    for ask in (lambda: cursor.take(1, "x"), lambda: cursor.varint("x")):
        with pytest.raises(MalformedFile, match="header_too_long"):
            ask()


def test_a_negative_skip_is_refused():
    with pytest.raises(MalformedFile, match="out_of_order"):
        Cursor(Bytes(b"abc"), "onnx", budget=10).skip(-1, "x")


def test_integers_are_little_endian():
    cursor = Cursor(Bytes(b"\x01\x02\0\0\0\x03\0\0\0\0\0\0\0\xac\x02"), "gguf", budget=100)
    assert (cursor.u8("x"), cursor.u32("x"), cursor.u64("x"), cursor.varint("x")) == (1, 2, 3, 300)


def test_a_varint_has_at_most_64_bits():
    largest = b"\xff" * 9 + b"\x01"
    assert Cursor(Bytes(largest), "onnx", budget=100).varint("x") == (1 << 64) - 1
    for raw in (b"\xff" * 9 + b"\x02", b"\x80" * 11):
        with pytest.raises(MalformedFile, match="bad_varint"):
            Cursor(Bytes(raw), "onnx", budget=100).varint("x")
