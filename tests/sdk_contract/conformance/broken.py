"""The reference client with one check taken out, played in a process of its own.

`python -m tests.sdk_contract.conformance.broken [--all] [CHECK...]` prints, for each check, the scenarios that fail: of
those that are for it and a few good days, or of all. The source of one module is changed while it is imported, so that
nothing else of the client differs.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys

import bsdiff4  # noqa: F401 - loaded before the forks
import numpy as np  # noqa: F401 - loaded before the forks
import pydantic.json_schema  # noqa: F401 - loaded before the forks
import zstandard  # noqa: F401 - loaded before the forks
from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: F401 - loaded before the forks

CLIENT = "sdk_contract.client."
RULES = "sdk_contract.rules"
EITHER = (
    'type(trust.for_role("director"))('
    '{**trust.for_role("ROLE").keys, **trust.for_role("director").keys}, trust.for_role("ROLE").threshold)'
)
"""A role that the director's key is good for, too."""
CONTROLS = ("everyday.update", "everyday.ordered-rollback", "patch.copies-and-zeros", "trust.root-rotated")
"""Good days, which no missing check may spoil."""
CHECKS = {
    # check: (module, what the source says, what it says without the check, the scenarios that are for it)
    "device": (
        RULES,
        "directive.device_id != question.device_id",
        "False",
        ["freshness.other-device", "freshness.other-device-in-a-no"],
    ),
    "model": (
        RULES,
        "question.model is not None and directive.model != question.model",
        "False",
        # Where there is a manifest, it is asked for its model, too.
        ["mixing.other-model-in-a-no"],
    ),
    "nonce": (
        RULES,
        "directive.nonce != question.nonce",
        "False",
        [
            "freshness.no-nonce",
            "freshness.other-nonce",
            "freshness.other-nonce-in-a-no",
            "freshness.recorded-no",
            "rollback.recorded-rollback",
        ],
    ),
    "held": (
        CLIENT + "verify",
        'self.directive.ext.get("activation") == "hold"',
        "False",
        [
            "switching.staged-version-waits",
            "switching.staged-version-is-withdrawn",
            "switching.plain-field-says-now",
        ],
    ),
    "held-after-a-start": (
        CLIENT + "update",
        "Restart.POLL if record.waiting else",
        "",
        [
            "switching.staged-version-waits",
            "switching.staged-version-waits-without-a-network",
            "switching.staged-version-is-not-staged-again",
            "switching.staged-version-is-overtaken",
        ],
    ),
    "request": (
        RULES,
        "directive.request_sha256 != hashlib.sha256(question.body).hexdigest()",
        "False",
        ["freshness.other-request", "freshness.other-request-in-a-no"],
    ),
    "directive-expiry": (
        RULES,
        "require_fresh(directive, moment",
        "(lambda *_: None)(directive, moment",
        ["freshness.directive-expired-at-issue"],
    ),
    "trust-expiry": (
        RULES,
        "    require_fresh(trust, present)\n",
        "",
        ["freshness.trust-expired"],
    ),
    "manifest-expiry": (
        RULES,
        "    require_fresh(manifest, present)\n",
        "",
        ["freshness.back-dated-by-a-thief", "freshness.manifest-expired"],
    ),
    "newest-signature": (
        RULES,
        "moment(newest_issued) if newest_issued else moment(issued)",
        "moment(issued)",
        ["freshness.back-dated-by-a-thief"],
    ),
    "manifest-digest": (
        RULES,
        "payload_digest(envelope) != directive.manifest_sha256",
        "False",
        ["mixing.manifest-not-named", "mixing.manifest-of-another-version", "mixing.other-digest"],
    ),
    "manifest-model": (
        RULES,
        "manifest.model != directive.model",
        "False",
        ["mixing.manifest-of-another-model"],
    ),
    "counter": (
        RULES,
        "manifest.counter < memory.counter",
        "False",
        ["rollback.older-version", "rollback.plain-field-says-rollback"],
    ),
    "floor": (
        RULES,
        "manifest.counter < max(memory.floor, manifest.floor)",
        "False",
        [
            "rollback.below-the-floor",
            "rollback.floor-is-remembered",
            "rollback.version-below-its-own-floor",
        ],
    ),
    "floor-leap": (
        RULES,
        "manifest.floor - memory.floor > MAX_LEAP",
        "False",
        ["rollback.floor-that-leaps"],
    ),
    "unannounced-keys": (
        CLIENT + "asking",
        "found = self.trust.look_further(self.api)",
        "found = False",
        ["trust.rotated-without-a-word"],
    ),
    "server-clock": (
        CLIENT + "api",
        "self._clock_off_s = refusal.server_time - int(time.time())",
        "pass",
        ["talking.clock-a-day-behind", "talking.clock-a-year-ahead"],
    ),
    "floor-is-kept": (
        CLIENT + "update",
        "record.floor = max(record.floor, order.floor)",
        "record.floor = order.floor",
        ["rollback.floor-is-remembered"],
    ),
    "same-name-or-path": (
        RULES,
        "len(set(names)) != len(names) or len(set(paths)) != len(paths)",
        "False",
        ["mixing.same-path-twice"],
    ),
    "modules": (
        RULES,
        "absent = sorted(set(modules or []) - set(names))",
        "absent: list[str] = []",
        ["mixing.wanted-module-is-missing"],
    ),
    "full-way": (
        RULES,
        "(way.sha256, way.size) != (component.sha256, component.size)",
        "False",
        ["mixing.way-to-another-file", "sizes.way-of-another-size"],
    ),
    "patch-target": (
        RULES,
        "(descriptor.target.sha256, descriptor.target.size) != (component.sha256, component.size)",
        "False",
        ["patch.leads-elsewhere"],
    ),
    "patch-bytes": (
        RULES,
        "(descriptor.patch.sha256, descriptor.patch.size) != (way.sha256, way.size)",
        "False",
        ["patch.signed-of-another-size"],
    ),
    "patch-role": (
        RULES,
        'trust.for_role("patcher")',
        EITHER.replace("ROLE", "patcher"),
        ["patch.descriptor-by-director"],
    ),
    "manifest-role": (
        RULES,
        'Manifest.open(envelope, trust.for_role("publisher"))\n    if manifest.model',
        f"Manifest.open(envelope, {EITHER.replace('ROLE', 'publisher')})\n    if manifest.model",
        ["forgery.manifest-by-director"],
    ),
    "signatures": (
        "sdk_contract.envelope",
        "        _verify(public_key, signature, message)\n",
        "",
        [
            "forgery.directive-payload-changed",
            "forgery.directive-relabelled",
            "forgery.directive-signature-changed",
            "forgery.manifest-signature-changed",
            "forgery.stranger-under-a-known-id",
        ],
    ),
    "voices": (
        "sdk_contract.envelope",
        "voices.add(public_key)",
        "voices.add(keyid.encode())",
        ["forgery.one-key-under-two-ids"],
    ),
    "payload-type": (
        "sdk_contract.envelope",
        "kind != payload_type",
        "False",
        ["forgery.directive-of-another-type"],
    ),
    "signature-bound": (
        "sdk_contract.envelope",
        "len(signatures) > MAX_SIGNATURES",
        "False",
        ["parsing.seventeen-signatures"],
    ),
    "old-root": (
        "sdk_contract.documents",
        'successor = self.open(envelope, self.for_role("root"))',
        "successor = self.open_first(envelope)",
        [
            "trust.a-strangers-bundle",
            "trust.only-the-new-root",
        ],
    ),
    "new-root": (
        "sdk_contract.documents",
        '        self.open(envelope, successor.for_role("root"))\n',
        "",
        ["trust.only-the-old-root"],
    ),
    "trust-version": (
        "sdk_contract.documents",
        "successor.version != self.version + 1",
        "False",
        ["trust.far-future-version", "trust.version-repeated", "trust.version-skipped"],
    ),
    "dates": (
        "sdk_contract.documents",
        "Rule(datetime.fromisoformat, {})",
        "Rule(str, {})",
        ["parsing.impossible-date"],
    ),
    "duplicate-keys": (
        "sdk_contract.strict_json",
        "len(result) != len(pairs)",
        "False",
        ["parsing.two-actions", "parsing.two-counters"],
    ),
    "depth": ("sdk_contract.strict_json", "depth > MAX_DEPTH", "False", ["parsing.too-deep"]),
    "integers": ("sdk_contract.strict_json", "abs(value) > MAX_INTEGER", "False", ["parsing.huge-integer"]),
    "surrogates": (
        "sdk_contract.strict_json",
        "        if _ESCAPED_SURROGATE.search(data):\n",
        "        if False:\n",
        ["parsing.half-a-pair"],
    ),
    "document-bound": (
        "sdk_contract.strict_json",
        "len(data) > limit",
        "False",
        ["sizes.directive-oversize", "sizes.manifest-oversize", "trust.oversize"],
    ),
    "file-digest": (
        CLIENT + "obtain",
        "if digest != wanted.sha256:",
        "if False:",
        [
            "mixing.component-of-another-version",
            "network.damaged-before-a-resume",
            "network.last-bit",
            "network.one-bit",
            "network.zeros",
        ],
    ),
    "patch-head": (
        CLIENT + "obtain",
        "            self._check_index(index)\n            chunk",
        "            chunk",
        ["patch.patch-writes-without-end", "patch.stolen-patcher-key"],
    ),
    "hard-stop": (
        CLIENT + "fetch",
        "min(CHUNK, skip + left)",
        "CHUNK",
        ["sizes.endless-object", "sizes.longer-object"],
    ),
    "answer-bound": (
        CLIENT + "transport",
        "len(data) > MAX_ANSWER",
        "False",
        ["sizes.endless-answer", "sizes.endless-trust-chain"],
    ),
    "bad-list": (
        CLIENT + "update",
        'if bad and not order.directive.ext.get("retry"):',
        "if False:",
        ["living.bad-model-is-not-tried-again"],
    ),
    "free-space": (CLIENT + "gather", "if free < need:", "if False:", ["sizes.signed-size-without-room"]),
}


class Without(importlib.abc.MetaPathFinder):
    """Imports one module with a piece of its source replaced."""

    def __init__(self, module, old, new):
        self.module, self.old, self.new = module, old, new

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        outer = self

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname):
                source = self.get_data(self.path).decode()
                assert source.count(outer.old) == 1, f"{outer.module} does not say {outer.old!r} once"
                return compile(source.replace(outer.old, outer.new), self.path, "exec")

        spec.loader = Loader(name, spec.origin)
        return spec


def fails(check, names):
    """Scenarios that fail without a check, with what they say; once in a process."""
    assert not any(name.startswith("sdk_contract") for name in sys.modules)
    module, old, new, _ = CHECKS[check]
    sys.meta_path.insert(0, Without(module, old, new))
    from sdk_contract.conformance.reference import execute
    from sdk_contract.conformance.runner import play_all
    from sdk_contract.conformance.scenarios import SCENARIOS
    from sdk_contract.conformance.sdk import InProcessSdk

    stories = [story for story in SCENARIOS if not names or story.name in names]
    assert not names or len(stories) == len(names), f"{names} are not all scenarios"
    results = play_all(stories, InProcessSdk(execute))
    return {result.scenario.name: result.message for result in results if result.verdict == "failed"}


def main(arguments):
    """One line of JSON per check; each in a fork, which costs less than a start of Python with all its imports."""
    everything = "--all" in arguments
    for check in [name for name in arguments if name != "--all"] or CHECKS:
        child = os.fork()
        if child == 0:
            names = () if everything else {*CHECKS[check][3], *CONTROLS}
            sys.stdout.write(json.dumps({check: fails(check, names)}) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
