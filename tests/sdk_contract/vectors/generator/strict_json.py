"""Family `strict_json`."""

from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import b64

LIMIT = 4096


def case(name, comment, data, canonical=None, code="malformed", *, attack="parser_differences", limit=LIMIT):
    data = data if isinstance(data, bytes) else data.encode()
    inputs = {"data": b64(data), "limit": limit}
    if canonical is None:
        return make_case(f"strict_json.{name}", comment, inputs, code, attack=attack)
    return make_case(f"strict_json.{name}", comment, inputs, {"canonical": b64(canonical.encode())})


def cases():
    yield from accepted()
    yield from refused_numbers_and_keys()
    yield from refused_bytes()


def accepted():
    yield case("empty-object", "the smallest document", "{}", "{}")
    yield case("blanks", "whitespace between tokens", ' { "b" : 1 ,\n\t"a" : [ ] } ', '{"a":[],"b":1}')
    yield case("unicode", "UTF-8 is kept", '{"a":"ü雁🪿"}', '{"a":"ü雁🪿"}')
    yield case("escapes", "escapes are decoded", r'{"a":"\u0041\n\/\"\\"}', r'{"a":"A\n/\"\\"}')
    yield case("surrogate-pair", "a surrogate pair is one character", r'"\ud83e\udebf"', '"🪿"')
    yield case("nul-in-string", "U+0000 is an ordinary character", r'"a\u0000b"', r'"a\u0000b"')
    yield case("largest-integer", "2^53 - 1", "9007199254740991", "9007199254740991")
    yield case("smallest-integer", "1 - 2^53", "-9007199254740991", "-9007199254740991")
    yield case("zero", "zero", "0", "0")
    yield case("minus-zero", "-0 is the integer 0", "-0", "0")
    yield case("literals", "true, false, null", "[true,false,null]", "[true,false,null]")
    yield case("depth-8", "eight levels are allowed", "[" * 8 + "]" * 8, "[" * 8 + "]" * 8)
    yield case(
        "brackets-in-string", "brackets in strings are not levels", '"' + "[" * 99 + '"', '"' + "[" * 99 + '"'
    )
    yield case(
        "quote-in-string",
        "an escaped quote does not end a string",
        r'{"a\"[[[[[[[[[":1}',
        r'{"a\"[[[[[[[[[":1}',
    )
    yield case(
        "same-key-in-two-objects", "the same key in two objects", '[{"a":1},{"a":2}]', '[{"a":1},{"a":2}]'
    )
    yield case("prefix-keys", "keys with a common prefix", '{"a":1,"aa":2}', '{"a":1,"aa":2}')
    yield case("case-of-keys", "keys that differ in case", '{"A":1,"a":2}', '{"A":1,"a":2}')
    yield case(
        "composed-keys",
        "keys are not normalized",
        '{"\u00e9":1,"e\u0301":2}',
        '{"e\u0301":2,"\u00e9":1}',
    )
    yield case(
        "at-limit", "exactly as long as the limit", '"' + "a" * 98 + '"', '"' + "a" * 98 + '"', limit=100
    )


def refused_numbers_and_keys():
    yield case("duplicate-key", "a duplicate key", '{"a":1,"a":2}')
    yield case("duplicate-key-equal", "a duplicate key with equal values", '{"a":1,"a":1}')
    yield case("duplicate-key-escaped", "keys that are equal after unescaping", r'{"a":1,"\u0061":2}')
    yield case("duplicate-key-deep", "a duplicate key in an inner object", '{"x":[{"a":1,"b":2,"a":3}]}')
    yield case("float", "a float", "1.5")
    yield case("float-integral", "a float with an integral value", "1.0")
    yield case("exponent", "a number with an exponent", "1e3")
    yield case("exponent-negative", "a number with a negative exponent", "1E-3")
    yield case("nan", "not JSON", "NaN")
    yield case("infinity", "not JSON", "-Infinity")
    yield case("integer-2-53", "2^53", "9007199254740992")
    yield case("integer-minus-2-53", "-2^53", "-9007199254740992")
    yield case("integer-huge", "an integer with thousands of digits", "9" * 4000, attack="endless_data")
    yield case("leading-zero", "a leading zero", "010")
    yield case("plus-sign", "not JSON", "+1")
    yield case("hex", "not JSON", "0x10")
    yield case("bare-minus", "not JSON", "-")
    yield case("depth-9", "one level too deep", "[" * 9 + "]" * 9, attack="endless_data")
    yield case("depth-2000", "2000 levels", "[" * 2000 + "]" * 2000, attack="endless_data")
    yield case("depth-open", "2000 levels, never closed", '{"a":' * 600, attack="endless_data")
    yield case(
        "depth-after-string",
        "nine levels after a string with quotes",
        r'["\"",' + "[" * 9 + "]" * 10,
        attack="endless_data",
    )
    yield case(
        "unending-string",
        "an unterminated string with many quotes; needs linear time",
        '"' + '\\"' * 2000,
        attack="endless_data",
    )


def refused_bytes():
    yield case("half-pair-high", "a high surrogate alone", r'"\ud83e"')
    yield case("half-pair-low", "a low surrogate alone", r'{"a":"\udebf"}')
    yield case("half-pair-swapped", "a low surrogate before a high one", r'"\udebf\ud83e"')
    yield case("half-pair-key", "an unpaired surrogate in a key", r'{"\ud83e":1}')
    yield case("surrogate-bytes", "CESU-8", b'"\xed\xa0\xbe\xed\xba\xbf"')
    yield case("not-utf-8", "Latin-1 instead of UTF-8", b'"\xfc"')
    yield case("overlong", "overlong UTF-8", b'"\xc0\xaf"')
    yield case("utf-16", "UTF-16 instead of UTF-8", '{"a":1}'.encode("utf-16"))
    yield case("byte-order-mark", "UTF-8 with a byte order mark", b"\xef\xbb\xbf{}")
    yield case("control-in-string", "a raw line feed in a string", '"a\nb"')
    yield case("bad-escape", "an unknown escape", r'"\x41"')
    yield case("short-escape", "an escape with too few digits", r'"\u00e"')
    yield case("single-quotes", "not JSON", "{'a':1}")
    yield case("bare-key", "not JSON", "{a:1}")
    yield case("trailing-comma", "a trailing comma in a list", "[1,]")
    yield case("trailing-comma-object", "a trailing comma in an object", '{"a":1,}')
    yield case("comment", "not JSON", '{"a":1/*b*/}')
    yield case("trailing-bytes", "bytes after the value", "{}{}")
    yield case("trailing-nul", "a NUL after the value", b"{}\0")
    yield case("empty", "no bytes", "")
    yield case("only-blanks", "only whitespace", "  \n")
    yield case("cut", "a truncated document", '{"a":')
    yield case("no-break-space", "a no-break space is not whitespace", "{\u00a0}")
    yield case(
        "over-limit",
        "one byte too long",
        '"' + "a" * 99 + '"',
        code="oversize",
        attack="endless_data",
        limit=100,
    )
    yield case(
        "over-limit-blanks",
        "whitespace counts toward the limit",
        "1" + " " * 100,
        code="oversize",
        attack="endless_data",
        limit=100,
    )
