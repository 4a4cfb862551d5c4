from workers.delta.layouts.formats import ggml

# Bytes and weights per block from the documentation of ggml, for the most used types.
KNOWN = {
    "ggml:q4_0": (32, 18),
    "ggml:q4_1": (32, 20),
    "ggml:q5_0": (32, 22),
    "ggml:q5_1": (32, 24),
    "ggml:q8_0": (32, 34),
    "ggml:q2_k": (256, 84),
    "ggml:q3_k": (256, 110),
    "ggml:q4_k": (256, 144),
    "ggml:q5_k": (256, 176),
    "ggml:q6_k": (256, 210),
    "ggml:q8_k": (256, 292),
    "ggml:iq2_xxs": (256, 66),
    "ggml:iq2_xs": (256, 74),
    "ggml:iq3_xxs": (256, 98),
    "ggml:iq1_s": (256, 50),
    "ggml:iq4_nl": (32, 18),
    "ggml:iq3_s": (256, 110),
    "ggml:iq2_s": (256, 82),
    "ggml:iq4_xs": (256, 136),
    "ggml:iq1_m": (256, 56),
    "ggml:tq1_0": (256, 54),
    "ggml:tq2_0": (256, 66),
    "ggml:mxfp4": (32, 17),
    "ggml:nvfp4": (64, 36),
    "ggml:q1_0": (128, 18),
    "ggml:q2_0": (64, 18),
}


def test_blocks_have_the_sizes_that_ggml_asserts():
    found = {name: (ggml.BY_DTYPE[name].weights, ggml.BY_DTYPE[name].size) for name in KNOWN}
    assert found == KNOWN


def test_the_fields_of_a_block_cover_every_byte():
    for block in ggml.TYPES.values():
        assert sum(size for _, size in block.fields) == block.size
        assert all(size > 0 for _, size in block.fields)


def test_type_names_are_unique():
    assert len(ggml.BY_DTYPE) == len(ggml.TYPES)
