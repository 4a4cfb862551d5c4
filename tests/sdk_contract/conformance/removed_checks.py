"""The checks of the reference client that the conformance scenarios must notice if they are missing.

Check -> (module, source text, text without the check, scenarios that must fail without the check).
"""

CLIENT = "sdk_contract.client."
VERIFICATION = "sdk_contract.verification"
EITHER = (
    'type(trust.for_role("director"))('
    '{**trust.for_role("ROLE").keys, **trust.for_role("director").keys}, trust.for_role("ROLE").threshold)'
)
"""A role whose documents the director's key may sign, too."""
CHECKS = {
    "device": (
        VERIFICATION,
        "directive.device_id != context.device_id",
        "False",
        ["freshness.other-device", "freshness.other-device-without-offer"],
    ),
    "model": (
        VERIFICATION,
        "context.model is not None and directive.model != context.model",
        "False",
        ["mix_and_match.other-model-without-offer"],
    ),
    "nonce": (
        VERIFICATION,
        "directive.nonce != context.nonce",
        "False",
        [
            "freshness.no-nonce",
            "freshness.other-nonce",
            "freshness.other-nonce-without-offer",
            "freshness.replayed-response-without-offer",
            "rollback.replayed-rollback",
        ],
    ),
    "deferred-activation": (
        CLIENT + "protocol.verification",
        'self.directive.ext.get("activation") == "deferred"',
        "False",
        [
            "deferred_activation.staged-version-waits",
            "deferred_activation.staged-version-is-withdrawn",
            "deferred_activation.unsigned-activation-is-ignored",
        ],
    ),
    "deferred-activation-after-a-restart": (
        CLIENT + "lifecycle.update",
        "RestartAction.POLL if state.deferred_release else",
        "",
        [
            "deferred_activation.staged-version-waits",
            "deferred_activation.staged-version-waits-offline",
            "deferred_activation.staged-version-is-staged-once",
            "deferred_activation.staged-version-is-superseded",
        ],
    ),
    "request": (
        VERIFICATION,
        "directive.request_sha256 != hashlib.sha256(context.body).hexdigest()",
        "False",
        ["freshness.other-request", "freshness.other-request-without-offer"],
    ),
    "directive-expiry": (
        VERIFICATION,
        "check_not_expired(directive, parse_timestamp",
        "(lambda *_: None)(directive, parse_timestamp",
        ["freshness.directive-expired-at-issue"],
    ),
    "trust-expiry": (
        VERIFICATION,
        "    check_not_expired(trust, present)\n",
        "",
        ["freshness.trust-expired"],
    ),
    "manifest-expiry": (
        VERIFICATION,
        "    check_not_expired(manifest, present)\n",
        "",
        ["freshness.back-dated-directive", "freshness.manifest-expired"],
    ),
    "newest-signature": (
        VERIFICATION,
        "parse_timestamp(newest_issued or issued)",
        "parse_timestamp(issued)",
        ["freshness.back-dated-directive"],
    ),
    "manifest-digest": (
        VERIFICATION,
        "payload_digest(envelope) != directive.manifest_sha256",
        "False",
        [
            "mix_and_match.manifest-not-named",
            "mix_and_match.manifest-of-another-version",
            "mix_and_match.other-manifest-digest",
        ],
    ),
    "manifest-model": (
        VERIFICATION,
        "manifest.model != directive.model",
        "False",
        ["mix_and_match.manifest-of-another-model"],
    ),
    "counter": (
        VERIFICATION,
        "manifest.counter < state.counter",
        "False",
        ["rollback.older-version", "rollback.unsigned-rollback"],
    ),
    "floor": (
        VERIFICATION,
        "manifest.counter < max(state.floor, manifest.floor)",
        "False",
        ["rollback.below-the-floor", "rollback.floor-is-remembered", "rollback.version-below-its-own-floor"],
    ),
    "floor-leap": (
        VERIFICATION,
        "manifest.floor - state.floor > MAX_FLOOR_INCREASE",
        "False",
        ["rollback.floor-raised-too-far"],
    ),
    "unannounced-keys": (
        CLIENT + "protocol.poller",
        "has_newer = self.trust.follow_to_end(self.api)",
        "has_newer = False",
        ["trust.rotation-not-announced"],
    ),
    "server-clock": (
        CLIENT + "protocol.device_api",
        "self._clock_offset_s = rejection.server_time - int(time.time())",
        "pass",
        ["api.clock-a-day-behind", "api.clock-a-year-ahead"],
    ),
    "floor-is-kept": (
        CLIENT + "lifecycle.update",
        "state.floor = max(state.floor, update.floor)",
        "state.floor = update.floor",
        ["rollback.floor-is-remembered"],
    ),
    "same-name-or-path": (
        VERIFICATION,
        "len(set(names)) != len(names) or len(set(paths)) != len(paths)",
        "False",
        ["mix_and_match.same-path-twice"],
    ),
    "wanted-components": (
        VERIFICATION,
        "absent = sorted(set(wanted or []) - set(names))",
        "absent: list[str] = []",
        ["mix_and_match.wanted-component-is-missing"],
    ),
    "full-option": (
        VERIFICATION,
        "(option.sha256, option.size) != (component.sha256, component.size)",
        "False",
        ["mix_and_match.option-for-another-file", "sizes.option-with-another-size"],
    ),
    "patch-target": (
        VERIFICATION,
        "(descriptor.target.sha256, descriptor.target.size) != (component.sha256, component.size)",
        "False",
        ["patch.other-target"],
    ),
    "patch-bytes": (
        VERIFICATION,
        "(descriptor.patch.sha256, descriptor.patch.size) != (option.sha256, option.size)",
        "False",
        ["patch.other-size"],
    ),
    "patch-role": (
        VERIFICATION,
        'trust.for_role("patcher")',
        EITHER.replace("ROLE", "patcher"),
        ["patch.descriptor-by-director"],
    ),
    "manifest-role": (
        VERIFICATION,
        'Manifest.from_envelope(envelope, trust.for_role("publisher"))\n    if manifest.model',
        f"Manifest.from_envelope(envelope, {EITHER.replace('ROLE', 'publisher')})\n    if manifest.model",
        ["forgery.manifest-by-director"],
    ),
    "signatures": (
        "sdk_contract.envelope",
        "            _verify_signature(public_key, signature, message)\n",
        "",
        [
            "forgery.directive-payload-changed",
            "forgery.directive-with-changed-type",
            "forgery.directive-signature-changed",
            "forgery.manifest-signature-changed",
            "forgery.stranger-with-a-known-key-id",
        ],
    ),
    "unique-keys": (
        "sdk_contract.envelope",
        "signed_by.add(public_key)",
        "signed_by.add(keyid.encode())",
        ["forgery.one-key-under-two-ids"],
    ),
    "payload-type": (
        "sdk_contract.envelope",
        "claimed_type != payload_type",
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
        'successor = self.from_envelope(envelope, self.for_role("root"))',
        "successor = self.from_initial_envelope(envelope)",
        ["trust.signed-by-stranger", "trust.signed-by-new-root-only"],
    ),
    "new-root": (
        "sdk_contract.documents",
        '        self.from_envelope(envelope, successor.for_role("root"))\n',
        "",
        ["trust.signed-by-old-root-only"],
    ),
    "trust-version": (
        "sdk_contract.documents",
        "successor.version != self.version + 1",
        "False",
        ["trust.version-far-ahead", "trust.version-repeated", "trust.version-skipped"],
    ),
    "dates": (
        "sdk_contract.documents",
        "Constraint(datetime.fromisoformat, {})",
        "Constraint(str, {})",
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
        ["parsing.unpaired-surrogate"],
    ),
    "document-bound": (
        "sdk_contract.strict_json",
        "len(data) > limit",
        "False",
        ["sizes.directive-oversize", "sizes.manifest-oversize", "trust.oversize"],
    ),
    "file-digest": (
        CLIENT + "transfer.component_download",
        "if digest != wanted.sha256:",
        "if False:",
        [
            "mix_and_match.component-of-another-version",
            "network.wrong-bit-before-a-resume",
            "network.wrong-bit-in-last-byte",
            "network.wrong-bit",
            "network.zeros",
        ],
    ),
    "patch-head": (
        CLIENT + "transfer.component_download",
        "            self._check_index(index)\n            chunk",
        "            chunk",
        ["patch.patch-with-huge-output", "patch.stolen-patcher-key"],
    ),
    "hard-stop": (
        CLIENT + "transfer.range_download",
        "min(CHUNK, skip + left)",
        "CHUNK",
        ["sizes.endless-object", "sizes.object-longer-than-signed"],
    ),
    "response-bound": (
        CLIENT + "protocol.http_client",
        "len(data) > MAX_RESPONSE_BYTES",
        "False",
        ["sizes.endless-response", "sizes.endless-trust-response"],
    ),
    "bad-list": (
        CLIENT + "lifecycle.update",
        'if code and not update.directive.ext.get("retry"):',
        "if False:",
        ["resilience.failed-version-is-not-tried-again"],
    ),
    "free-space": (
        CLIENT + "lifecycle.downloader",
        "if free < need:",
        "if False:",
        ["sizes.not-enough-space"],
    ),
}
