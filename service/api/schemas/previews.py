"""Bodies of the admin API about previews."""

from datetime import datetime

from pydantic import Field

from service.api.schemas.base import Body, View


class SavedBody(Body):
    """A rollout that has been written down."""

    rollout: str = Field(max_length=64)


class TallyView(View):
    """Devices, counted.

    Attributes:
        bytes: that they download in all.
        silent: how many have not been heard of for a week.
        waiting: how many would come by a patch once those in the making are ready; counted as they would come now.
        paths: `patch`, `mixed` (patches and full files), `full`, `keep` (nothing to download) -> how many.
        running: version that they run, empty for none -> how many.
    """

    devices: int
    bytes: int
    silent: int
    waiting: int
    paths: dict[str, int]
    running: dict[str, int]


class StagePreview(TallyView):
    """Devices that a stage takes and no earlier one does."""

    cohort: str
    percent: float
    cumulative_devices: int
    cumulative_bytes: int


class VersionPreview(TallyView):
    """Devices that run a version.

    Attributes:
        version: null for those that have nothing yet.
        excluded: why the others get nothing -> how many; a poll's reasons, `model_not_served` or `other_rollout`.
    """

    version: str | None
    excluded: dict[str, int]


class FleetPreview(View):
    """All devices that have asked about the model.

    Attributes:
        reached: how many get it once all stages are open.
        silent: how many have not been heard of for a week.
        without_attributes: how many have told no attributes.
        excluded: why the others get nothing -> how many.
        uncounted: devices that are too different from each other to be counted; 0 unless a fleet tells nonsense.
        never_polled: devices that have enrolled, may have the model, and never asked about it; not among `devices`.
    """

    devices: int
    reached: int
    silent: int
    without_attributes: int
    excluded: dict[str, int]
    uncounted: int
    never_polled: int


class DownloadPreview(View):
    """What one device downloads, of those that are reached, and the memory that its largest patch takes."""

    p50_bytes: int
    p95_bytes: int
    max_bytes: int
    total_bytes: int
    peak_memory_bytes: int


class ForecastView(View):
    """How long it takes; null for never, as things stand.

    Attributes:
        stage_opens_day: for each stage, days after the start.
        assumptions: what this rests on.
    """

    days_to_95_percent: float | None
    stage_opens_day: list[float | None]
    assumptions: list[str]


class CompletionView(View):
    """When a rollout will be done, as it goes now.

    Attributes:
        devices_left, bytes_left: in the stages that are open.
        devices_later: in those that are not.
        per_hour: devices that an hour takes.
        limited_by: `max_bytes_per_hour`, `max_open_downloads`, or `devices`: how fast they come.
        done_at: when the open stages are done; absent where nothing moves.
    """

    devices_left: int
    bytes_left: int
    devices_later: int
    per_hour: float
    limited_by: str
    done_at: datetime | None


class PreviewView(View):
    """What a rollout would do to the fleet as it is known.

    Attributes:
        salt: what buckets are made with; from the rollout's name, so that `create` has the same.
        warnings: what to look at before `start`.
        devices: the first devices that stage one takes, in order of their ids.
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
