"""Request and response bodies of previews and forecasts."""

from datetime import datetime

from pydantic import Field

from service.api.schemas.base import Body, View


class ExistingRolloutBody(Body):
    """An existing rollout, by id or name."""

    rollout: str = Field(max_length=64)


class DeviceCountsView(View):
    """The number of devices, in several breakdowns.

    Attributes:
        bytes: total number of bytes that they download.
        silent: number of devices that have not polled for a week.
        waiting_for_patch: number of devices that would download a patch once the patches being built are ready.
        paths: `patch`, `mixed` (patches and full files), `full` or `keep` (nothing to download) -> number of devices.
        current_versions: label of the current version, empty for none -> number of devices.
    """

    devices: int
    bytes: int
    silent: int
    waiting_for_patch: int
    paths: dict[str, int]
    current_versions: dict[str, int]


class StagePreview(DeviceCountsView):
    """The devices that a stage adds to the earlier stages."""

    cohort: str
    percent: float
    cumulative_devices: int
    cumulative_bytes: int


class VersionPreview(DeviceCountsView):
    """The devices with one current version.

    Attributes:
        version: label of the version; null for devices without one.
        excluded: reason -> number of devices that are not offered the version; the reasons of polls,
            `model_not_served` or `other_rollout`.
    """

    version: str | None
    excluded: dict[str, int]


class FleetPreview(View):
    """All devices that have polled for the model.

    Attributes:
        reached: number of devices that get the version once all stages are open.
        silent: number of devices that have not polled for a week.
        without_attributes: number of devices that have reported no attributes.
        excluded: reason -> number of devices that are not offered the version.
        uncounted: number of devices that are not counted, because there are too many combinations of attributes.
        never_polled: number of enrolled devices that are served the model but never polled for it; not in `devices`.
    """

    devices: int
    reached: int
    silent: int
    without_attributes: int
    excluded: dict[str, int]
    uncounted: int
    never_polled: int


class DownloadPreview(View):
    """The downloads of the reached devices, and the memory in bytes that the largest patch needs."""

    p50_bytes: int
    p95_bytes: int
    max_bytes: int
    total_bytes: int
    peak_memory_bytes: int


class ForecastView(View):
    """The expected duration of a rollout; null means never under the current conditions.

    Attributes:
        days_to_95_percent: days until 95 % of the reached devices have the version.
        stage_opens_day: per stage, days between the start and its opening.
        assumptions: the assumptions of the forecast, as text.
    """

    days_to_95_percent: float | None
    stage_opens_day: list[float | None]
    assumptions: list[str]


class CompletionView(View):
    """The expected completion of a running rollout at its current speed.

    Attributes:
        devices_left: devices of the open stages that do not have the version yet.
        bytes_left: bytes that they have to download.
        devices_later: devices of the stages that are not open.
        per_hour: devices per hour.
        limited_by: `max_bytes_per_hour`, `max_open_downloads`, or `devices` (how often they poll).
        done_at: when the open stages are complete; absent if the rollout makes no progress.
    """

    devices_left: int
    bytes_left: int
    devices_later: int
    per_hour: float
    limited_by: str
    done_at: datetime | None


class PreviewView(View):
    """The expected effect of a rollout on the known fleet.

    Attributes:
        salt: salt of the buckets; derived from the rollout's name, so that `create` uses the same one.
        warnings: problems to check before `start`, as text.
        devices: ids of the first devices of the first stage, in order.
    """

    rollout: str
    model: str
    version: str
    salt: str
    fleet: FleetPreview
    stages: list[StagePreview]
    versions: list[VersionPreview]
    download: DownloadPreview
    forecast: ForecastView
    warnings: list[str]
    devices: list[str]
