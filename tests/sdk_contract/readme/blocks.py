"""The generated parts of `sdk_contract/README.md`, by the name of their mark."""

import inspect
import json
import re

from sdk_contract.documents import Manifest
from sdk_contract.envelope import pae
from sdk_contract.wire import Download, DownloadOption, Event, PollRequest, PollResponse, proof_message
from tests.sdk_contract.readme import example
from tests.sdk_contract.readme.checks import checks
from tests.sdk_contract.readme.tables import attack_table, error_table
from tests.sdk_contract.vectors.generator.keys import DEVICE, b64

WIDTH = 112


def blocks():
    patch = example.downloads()[0].options[0]
    return {
        "errors": error_table(),
        "attacks": attack_table(),
        "example-keys": keys_table(),
        "example-trust": code(pretty(example.decoded_payload(example.as_file()["trust"]))),
        "example-manifest": manifest(),
        "example-enroll": code(pretty(example.enrollment())),
        "example-proof": proof(),
        "example-poll": poll(),
        "example-response": code(pretty(example.response())),
        "example-directive": code(pretty(example.decoded_payload(example.response()["directive"]))),
        "example-checks": checks_table(),
        "example-descriptor": code(pretty(example.decoded_payload(patch.descriptor))),
        "example-download": download(),
        "example-events": code("[" + ",\n ".join(json.dumps(event) for event in example.events()) + "]"),
        "fields-poll-request": field_table(PollRequest),
        "fields-poll-response": field_table(PollResponse),
        "fields-downloads": field_table(Download),
        "fields-options": field_table(DownloadOption),
        "fields-event": field_table(Event),
    }


def code(text, language="json"):
    return f"```{language}\n{text}\n```"


def pretty(value, indent=""):
    """`value` as JSON: members on one line if they fit, long base64 and URLs cut."""
    line = re.sub(r'"([A-Za-z0-9+/=_-]{32})[A-Za-z0-9+/=_-]{45,}"', r'"\1..."', json.dumps(value))
    line = re.sub(r"(https://[a-z./]+/[0-9a-f]{8})[0-9a-f]{56}", r"\1...", line)
    if len(indent) + len(line) <= WIDTH or not isinstance(value, dict | list):
        return line
    inner = indent + "  "
    if isinstance(value, list):
        lines = [inner + pretty(entry, inner) for entry in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    lines = [f'{inner}"{name}": {pretty(entry, inner)}' for name, entry in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def wrapped(text):
    """Compact JSON, broken after commas into lines."""
    lines = [""]
    for piece in re.split(r"(?<=,)", text):
        if len(lines[-1]) + len(piece) > WIDTH:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def keys_table():
    rows = [f"| {role} | `{key.id}` | `{b64(key.public_key)}` |" for role, key in example.KEYS.items()]
    return "\n".join(["| role | key id | public key |", "|---|---|---|", *rows])


def manifest():
    payload = example.manifest().to_bytes()
    signed = pae(Manifest.payload_type, payload)
    return "\n\n".join(
        [
            f"The payload, {len(payload)} bytes on one line:",
            code(wrapped(payload.decode())),
            f"The signed bytes, {len(signed)} in all:",
            code(f"{signed[:70].decode()}...", "text"),
            "The envelope:",
            code(pretty(json.loads(example.manifest_envelope()))),
        ]
    )


def proof():
    message = proof_message(example.DEVICE_ID, DEVICE.public_key, example.TOKEN)
    meanings = ("the purpose", "the device id", "the public key", "the enrollment token")
    rows, offset = [], 0
    for meaning in meanings:
        size = int.from_bytes(message[offset : offset + 4], "big")
        part = message[offset + 4 : offset + 4 + size]
        shown = f"`{part.decode()}`" if part.isascii() else f"`{part[:8].hex(' ')} ...`"
        rows.append(f"| `{message[offset : offset + 4].hex(' ')}` | {shown} | {meaning}, {size} bytes |")
        offset += 4 + size
    assert offset == len(message)
    return "\n".join(["| length | bytes | |", "|---|---|---|", *rows])


def poll():
    body = example.poll_body()
    digest = f"SHA-256 of these {len(body)} bytes: `{example.sha(body)}`."
    return "\n\n".join([code(wrapped(body.decode())), digest])


def checks_table():
    rows = [f"| {row.number} | {row.rule} | {row.value} | {code_cell(row.code)} |" for row in checks()]
    return "\n".join(["| # | rule | in the example | code |", "|--:|---|---|---|", *rows])


def code_cell(text):
    return text if " " in text else f"`{text}`"


def download():
    patch, full = example.downloads()[0].options
    rows = [
        f"| `weights` | `{patch.format}` | {patch.size} | {patch.size / full.size:.1%} of the file |",
        f"| `weights` | `{full.format}` | {full.size} | only if the patch fails |",
        "| `tokenizer` | `keep` | 0 | the file is on disk |",
    ]
    return "\n".join(["| component | option | bytes | |", "|---|---|--:|---|", *rows])


def field_table(body):
    """Fields of a body: name, JSON type and the description in its docstring."""
    texts = attribute_texts(body)
    schema = body.model_json_schema()
    required = set(schema.get("required", ()))
    rows = []
    for name, field in schema["properties"].items():
        mark = "" if name in required else " (optional)"
        rows.append(f"| `{name}` | {type_name(field)}{mark} | {texts[name]} |")
    return "\n".join(["| field | type | |", "|---|---|---|", *rows])


def attribute_texts(body):
    """Field -> its text in the `Attributes` part of the docstring."""
    attributes = inspect.cleandoc(body.__doc__).partition("Attributes:\n")[2]
    texts, name = dict[str, str](), ""
    for line in attributes.splitlines():
        entry = re.match(r"    (\w+): (.*)", line)
        name, text = entry.groups() if entry else (name, line.strip())
        texts[name] = f"{texts.get(name, '')} {text}".strip().replace("|", "\\|")
    return texts


def type_name(field):
    for keyword in ("anyOf", "oneOf"):
        if keyword in field:
            names = dict.fromkeys(type_name(entry) for entry in field[keyword] if entry.get("type") != "null")
            return " or ".join(names)
    if "$ref" in field:
        return "object"
    if "enum" in field:
        return "string"
    if field.get("type") == "array":
        return f"list of {type_name(field['items'])}s"
    if field.get("type") == "object":
        return "object"
    return field.get("type", "any")
