import pytest

from tests.workers.delta.layouts.writers import Bytes, Sparse
from workers.delta.layouts import MalformedFile
from workers.delta.layouts.parsing.pages import MAX_CACHED_PAGES, PAGE_BYTES, PagedFile


def test_ranges_across_page_boundaries_are_correct():
    raw = bytes(number % 251 for number in range(3 * PAGE_BYTES + 5))
    pages = PagedFile(Bytes(raw), "tflite", budget=1 << 20)
    for offset, length in [
        (0, 4),
        (PAGE_BYTES - 2, 4),
        (PAGE_BYTES, 0),
        (10, 2 * PAGE_BYTES),
        (len(raw) - 1, 1),
    ]:
        assert pages.take(offset, length, "x") == raw[offset : offset + length]


def test_a_page_is_fetched_once():
    reader = Bytes(bytes(100))
    pages = PagedFile(reader, "tflite", budget=1 << 20)
    for offset in range(90):
        pages.take(offset, 4, "x")
    assert reader.reads == 1


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (97, 4), (101, 0), (1 << 70, 1)])
def test_ranges_outside_the_file_are_refused(offset, length):
    with pytest.raises(MalformedFile, match="truncated"):
        PagedFile(Bytes(bytes(100)), "tflite", budget=1 << 20).take(offset, length, "x")


def test_random_access_ends_when_the_budget_is_exceeded():
    reader = Sparse(b"", 1 << 40)
    pages = PagedFile(reader, "tflite", budget=10 * PAGE_BYTES)
    for number in range(10):
        pages.take(number << 20, 4, "x")
    with pytest.raises(MalformedFile, match="header_too_long"):
        pages.take(10 << 20, 4, "x")
    assert reader.taken == 10 * PAGE_BYTES


def test_the_number_of_cached_pages_is_limited():
    pages = PagedFile(Sparse(b"", 1 << 40), "tflite", budget=1 << 40)
    for number in range(MAX_CACHED_PAGES + 10):
        pages.take(number * PAGE_BYTES, 1, "x")
    assert len(pages._cache) <= MAX_CACHED_PAGES
