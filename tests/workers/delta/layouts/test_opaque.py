from tests.workers.delta.layouts.writers import Bytes
from workers.delta.layouts import Layout
from workers.delta.layouts.opaque import read


def test_only_the_length_of_an_opaque_file_is_known():
    assert read(Bytes(b"anything")) == Layout("opaque", 8, ())
