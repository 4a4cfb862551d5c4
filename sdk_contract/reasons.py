"""Reasons of poll responses: the stable codes, and what each means for a release manager."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Reason = Literal[
    "update",
    "rollback",
    "up_to_date",
    "no_rollout",
    "not_in_cohort",
    "not_in_stage",
    "in_holdout",
    "awaiting_activation",
    "device_class_paused",
    "paused",
    "halted",
    "outside_window",
    "throttled",
    "no_variant",
    "below_floor",
    "behind_barrier",
    "patch_building",
    "too_many_failures",
    "downgrade",
    "model_disabled",
    "revoked",
    "suspended",
    "degraded",
]
"""Why a poll got this response. Stable codes; `graylag why` shows the same ones."""


class ReasonText(NamedTuple):
    """What a reason means, and what a release manager can do about it."""

    meaning: str
    remedy: str


REASON_TEXTS: Mapping[Reason, ReasonText] = {
    "update": ReasonText(
        "The device is offered a version, or components that it lacks.",
        "Nothing. Watch the outcomes with `graylag rollout status`.",
    ),
    "rollback": ReasonText(
        "The version of the device was rolled back. The device is sent to its rollback target.",
        "If the action is `pause`, there is no target for the device: roll out a newer version to it.",
    ),
    "up_to_date": ReasonText("The device runs the version of the rollout.", "Nothing."),
    "no_rollout": ReasonText(
        "No rollout offers this model to the device.",
        "Create and start a rollout whose cohort has the device.",
    ),
    "not_in_cohort": ReasonText(
        "The device is in no stage of the rollout: its cohort or its percentage excludes the device.",
        "Check the attributes with `graylag why`; change the cohort, or create a rollout with a wider stage.",
    ),
    "not_in_stage": ReasonText(
        "The device is in a stage that is not open yet.",
        "Wait for the gates, or open the next stage with `graylag rollout promote`.",
    ),
    "in_holdout": ReasonText(
        "The device is in the holdout, which this rollout never serves.",
        "Create another rollout of the version without `holdout_percent`, once the comparison is over.",
    ),
    "awaiting_activation": ReasonText(
        "The rollout defers activation, and the client of the device cannot defer it.",
        "Run `graylag rollout activate`; the device is offered the version after that.",
    ),
    "device_class_paused": ReasonText(
        "The version fails on this class of devices, so the rollout is paused for the class.",
        "Fix the version for the class, or run `graylag rollout resume-class`.",
    ),
    "paused": ReasonText("The rollout is paused.", "Run `graylag rollout resume`."),
    "halted": ReasonText(
        "The rollout was halted, by a gate or by a person.", "A halt is permanent: roll out a fixed version."
    ),
    "outside_window": ReasonText(
        "The local time of the device is outside the windows of the rollout.",
        "Wait, or create a rollout with other windows. Check the attribute `timezone` with `graylag why`.",
    ),
    "throttled": ReasonText(
        "The rollout has used up its pacing limit for now.", "Wait, or create a rollout with a higher limit."
    ),
    "no_variant": ReasonText(
        "No variant of the version matches the device.", "Publish a version with a variant for such devices."
    ),
    "below_floor": ReasonText(
        "The offered version is below the floor of the version that the device runs.",
        "Roll out a version at or above the floor. Devices never go below it.",
    ),
    "behind_barrier": ReasonText(
        "The device must install a barrier version first, and no rollout offers it that version.",
        "Roll out the barrier version to the device.",
    ),
    "patch_building": ReasonText(
        "The device waits for a patch that is requested or being built.",
        "Nothing: after `GRAYLAG_PATCH_WAIT_S` it gets the full file. See `graylag patch plan`.",
    ),
    "too_many_failures": ReasonText(
        "The version has failed on the device too often.",
        "Find the cause, then run `graylag device clear-failures`, or roll out another version.",
    ),
    "downgrade": ReasonText(
        "The device runs a newer version than the rollout offers.",
        "Nothing. To move devices back, roll back the rollout of the newer version, or revoke that version.",
    ),
    "model_disabled": ReasonText(
        "An operator has disabled the model (kill switch).", "Run `graylag model enable`."
    ),
    "revoked": ReasonText(
        "The device runs a revoked version. It is sent to its revocation target.",
        "If the action is `pause`, there is no target for the device: roll out a newer version to it.",
    ),
    "suspended": ReasonText(
        "The device is pending, suspended or decommissioned.",
        "Run `graylag device accept`. A decommissioned device cannot return.",
    ),
    "degraded": ReasonText(
        "The device would be offered a version, but the database is unavailable.",
        "Restore the database. The device polls again within minutes.",
    ),
}
"""Reason -> its text; the source of the table in `service/guide/reference.md`."""
