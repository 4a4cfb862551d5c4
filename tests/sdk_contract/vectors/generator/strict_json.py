"""Family `strict_json`."""

from tests.sdk_contract.vectors.generator.case import case
from tests.sdk_contract.vectors.generator.keys import b64

LIMIT = 4096


def one(name, comment, data, canonical=None, code="malformed", attack="parser_differences", limit=LIMIT):  # noqa: PLR0917 - the columns of a table
    data = data if isinstance(data, bytes) else data.encode()
    inputs = {"data": b64(data), "limit": limit}
    if canonical is None:
        return case(f"strict_json.{name}", comment, inputs, code, attack=attack)
    return case(f"strict_json.{name}", comment, inputs, {"canonical": b64(canonical.encode())})


def cases():
    yield from accepted()
    yield from refused_numbers_and_keys()
    yield from refused_bytes()


def accepted():
    yield one("empty-object", "the least document", "{}", "{}")
    yield one("blanks", "blanks between tokens are fine", ' { "b" : 1 ,\n\t"a" : [ ] } ', '{"a":[],"b":1}')
    yield one("unicode", "UTF-8 stays UTF-8", '{"a":"ü雁🪿"}', '{"a":"ü雁🪿"}')
    yield one("escapes", "escapes are read", r'{"a":"\u0041\n\/\"\\"}', r'{"a":"A\n/\"\\"}')
    yield one("surrogate-pair", "a pair is one character", r'"\ud83e\udebf"', '"🪿"')
    yield one("nul-in-string", "U+0000 is a character like others", r'"a\u0000b"', r'"a\u0000b"')
    yield one("largest-integer", "2^53 - 1", "9007199254740991", "9007199254740991")
    yield one("smallest-integer", "1 - 2^53", "-9007199254740991", "-9007199254740991")
    yield one("zero", "zero", "0", "0")
    yield one("minus-zero", "an integer; reads as 0", "-0", "0")
    yield one("literals", "true, false, null", "[true,false,null]", "[true,false,null]")
    yield one("depth-8", "eight levels", "[" * 8 + "]" * 8, "[" * 8 + "]" * 8)
    yield one(
        "brackets-in-string", "brackets in strings are no depth", '"' + "[" * 99 + '"', '"' + "[" * 99 + '"'
    )
    yield one(
        "quote-in-string",
        "an escaped quote does not end a string",
        r'{"a\"[[[[[[[[[":1}',
        r'{"a\"[[[[[[[[[":1}',
    )
    yield one("same-key-in-two-objects", "is no duplicate", '[{"a":1},{"a":2}]', '[{"a":1},{"a":2}]')
    yield one("prefix-keys", "keys that begin alike", '{"a":1,"aa":2}', '{"a":1,"aa":2}')
    yield one("case-of-keys", "keys differ by case", '{"A":1,"a":2}', '{"A":1,"a":2}')
    yield one(
        "composed-keys",
        "keys are compared as they are, not normalised",
        '{"\u00e9":1,"e\u0301":2}',
        '{"e\u0301":2,"\u00e9":1}',
    )
    yield one("at-limit", "exactly as long as allowed", '"' + "a" * 98 + '"', '"' + "a" * 98 + '"', limit=100)


def refused_numbers_and_keys():
    yield one("duplicate-key", "the last or the first?", '{"a":1,"a":2}')
    yield one("duplicate-key-equal", "even with equal values", '{"a":1,"a":1}')
    yield one("duplicate-key-escaped", "equal after unescaping", r'{"a":1,"\u0061":2}')
    yield one("duplicate-key-deep", "at any level", '{"x":[{"a":1,"b":2,"a":3}]}')
    yield one("float", "no floats", "1.5")
    yield one("float-integral", "not even whole ones", "1.0")
    yield one("exponent", "no exponents", "1e3")
    yield one("exponent-negative", "no exponents", "1E-3")
    yield one("nan", "not JSON", "NaN")
    yield one("infinity", "not JSON", "-Infinity")
    yield one("integer-2-53", "2^53", "9007199254740992")
    yield one("integer-minus-2-53", "-2^53", "-9007199254740992")
    yield one("integer-huge", "thousands of digits", "9" * 4000, attack="endless_data")
    yield one("leading-zero", "octal or decimal?", "010")
    yield one("plus-sign", "not JSON", "+1")
    yield one("hex", "not JSON", "0x10")
    yield one("bare-minus", "not JSON", "-")
    yield one("depth-9", "one level too deep", "[" * 9 + "]" * 9, attack="endless_data")
    yield one("depth-2000", "a stack to overflow", "[" * 2000 + "]" * 2000, attack="endless_data")
    yield one("depth-open", "never closed", '{"a":' * 600, attack="endless_data")
    yield one(
        "depth-after-string",
        "levels behind a string with quotes",
        r'["\"",' + "[" * 9 + "]" * 10,
        attack="endless_data",
    )
    yield one(
        "unending-string", "quotes that never end it: linear time", '"' + '\\"' * 2000, attack="endless_data"
    )


def refused_bytes():
    yield one("half-pair-high", "half a surrogate pair", r'"\ud83e"')
    yield one("half-pair-low", "the other half", r'{"a":"\udebf"}')
    yield one("half-pair-swapped", "both, in the wrong order", r'"\udebf\ud83e"')
    yield one("half-pair-key", "in a key", r'{"\ud83e":1}')
    yield one("surrogate-bytes", "CESU-8", b'"\xed\xa0\xbe\xed\xba\xbf"')
    yield one("not-utf-8", "Latin-1", b'"\xfc"')
    yield one("overlong", "overlong UTF-8", b'"\xc0\xaf"')
    yield one("utf-16", "another encoding", '{"a":1}'.encode("utf-16"))
    yield one("byte-order-mark", "UTF-8 with a mark", b"\xef\xbb\xbf{}")
    yield one("control-in-string", "a raw line feed", '"a\nb"')
    yield one("bad-escape", "no such escape", r'"\x41"')
    yield one("short-escape", "too few digits", r'"\u00e"')
    yield one("single-quotes", "not JSON", "{'a':1}")
    yield one("bare-key", "not JSON", "{a:1}")
    yield one("trailing-comma", "in a list", "[1,]")
    yield one("trailing-comma-object", "in an object", '{"a":1,}')
    yield one("comment", "not JSON", '{"a":1/*b*/}')
    yield one("trailing-bytes", "something behind the value", "{}{}")
    yield one("trailing-nul", "a NUL behind the value", b"{}\0")
    yield one("empty", "nothing", "")
    yield one("only-blanks", "nothing but blanks", "  \n")
    yield one("cut", "cut short", '{"a":')
    yield one("no-break-space", "not one of the four blanks", "{\u00a0}")
    yield one(
        "over-limit",
        "one byte too long",
        '"' + "a" * 99 + '"',
        code="oversize",
        attack="endless_data",
        limit=100,
    )
    yield one(
        "over-limit-blanks",
        "blanks count",
        "1" + " " * 100,
        code="oversize",
        attack="endless_data",
        limit=100,
    )
