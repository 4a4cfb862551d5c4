"""Count the fleet in groups of devices that are equal in every property that a decision depends on.

Each count is one pass over `devices` and, if a model is given, `installations`. Attempts and events are not read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from service.domain.fleet.grouping import ABSENT, UNMATCHED, Grouping, GroupingKey
from service.domain.targeting.buckets import BUCKETS

MAX_GROUPS = 100_000
"""The largest groups are returned; devices of the others are counted together."""

FEW_FACTOR = 20
"""With this many times more devices than requested, a scan in id order finds enough of them quickly."""

# PostgreSQL estimates nearly one group per row and would sort a million texts. There are only a few thousand groups, so
# hashing is faster, and computing a digest per row is worth a parallel worker.
_TUNING = (
    "work_mem = '64MB'",
    "enable_sort = off",
    "parallel_setup_cost = 0",
    "parallel_tuple_cost = 0",
)


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """Devices that get the same decision.

    Attributes:
        example: the smallest id in the group.
        version: the version that they run, as last reported.
        is_served: whether they may have the model.
        codes: one for each key of the grouping; see `GroupingKey.code`.
        on_lists: one for each list of the grouping.
        bands: one for each salt of the grouping: the number of its cuts at or below the bucket.
        silent: the devices of the group not seen since the given time.
        without_attributes: the devices of the group without any attribute.
    """

    example: str
    status: str
    version: str | None
    is_served: bool
    codes: tuple[Any, ...]
    on_lists: tuple[bool, ...]
    bands: tuple[int, ...]
    devices: int
    silent: int
    without_attributes: int


@dataclass(frozen=True, slots=True)
class FleetCount:
    """The fleet in groups.

    Attributes:
        groups: the largest first.
        uncounted: devices in groups beyond the limit.
    """

    groups: Sequence[DeviceGroup]
    uncounted: int


@dataclass(slots=True)
class _Query:
    """The bind parameters of a query under construction."""

    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any, kind: str = "text") -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"cast(:{name} as {kind})"


def count_groups(
    session: Session,
    grouping: Grouping,
    *,
    model: str | None,
    silent_since: datetime,
    limit: int = MAX_GROUPS,
) -> FleetCount:
    """Count the fleet in groups, the largest first.

    Args:
        session: the transaction to read in.
        grouping: what tells devices apart.
        model: count the devices that have polled for this model, by the version they run; None for all devices.
        silent_since: devices last seen, or enrolled and never seen, before this time count as silent.
        limit: the maximum number of groups.
    """
    query = _Query()
    columns = _columns(query, grouping, model)
    names = ", ".join(f"c{index}" for index in range(len(columns)))
    selected = ", ".join(f"{column} as c{index}" for index, column in enumerate(columns))
    sql = f"""
      select {selected}, count(*) as devices,
        count(*) filter (where coalesce(d.seen_at, d.enrolled_at) < {query.bind(silent_since, "timestamptz")}) as silent,
        count(*) filter (where d.attributes = '{{}}' and d.admin_attributes = '{{}}') as bare,
        min(d.id collate "C") as example, sum(count(*)) over () as fleet
      {_source(query, grouping, model)} group by {names} order by devices desc, example limit {query.bind(limit, "int")}
    """
    with _tuned(session):
        rows = session.execute(text(sql), query.values).all()
    found = [_group(row, grouping) for row in rows]
    fleet = int(rows[0].fleet) if rows else 0
    return FleetCount(found, fleet - sum(group.devices for group in found))


def first_ids(
    session: Session, grouping: Grouping, wanted: Sequence[DeviceGroup], *, model: str | None, limit: int
) -> list[str]:
    """The ids of the first devices in some groups, in id order."""
    if not wanted or limit < 1:
        return []
    query = _Query()
    columns = [f"coalesce(({column})::text, '')" for column in _columns(query, grouping, model)]
    cells = [_cells(group, grouping) for group in wanted]
    # The unit separator cannot occur in JSON text, nor in numbers, labels and states.
    lines = query.bind(["\x1f".join(line) for line in cells], "text[]")
    conditions = [f"concat_ws(chr(31), {', '.join(columns)}) = any({lines})"]
    if sum(group.devices for group in wanted) < FEW_FACTOR * limit:
        # A scan in id order would visit most devices. Comparing single columns first excludes devices before their
        # digest is computed.
        conditions[:0] = [
            f"{column} = any({query.bind(sorted(set(values)), 'text[]')})"
            for column, values in zip(columns, zip(*cells, strict=True), strict=True)
        ]
    sql = f"""
      select d.id {_source(query, grouping, model)} {"and" if model is not None else "where"}
      {" and ".join(conditions)} order by d.id limit {query.bind(limit, "int")}
    """
    return list(session.scalars(text(sql), query.values))


def count_entitled(session: Session, model: str) -> int:
    """Count the devices in service that may have a model, whether or not they have polled for it."""
    sql = """
      select count(*) from devices
      where status <> 'decommissioned' and (models is null or :model = any(models))
    """
    return int(session.scalar(text(sql), {"model": model}) or 0)


@contextmanager
def _tuned(session: Session) -> Iterator[None]:
    """Apply planner settings for a pass over the whole fleet, and reset them afterwards."""
    for setting in _TUNING:
        session.execute(text(f"set local {setting}"))
    yield
    for setting in _TUNING:
        session.execute(text(f"set local {setting.split()[0]} to default"))


def _source(query: _Query, grouping: Grouping, model: str | None) -> str:
    joins = [
        f"left join cohort_members l{index} on l{index}.cohort = {query.bind(name)} and l{index}.device_id = d.id"
        for index, name in enumerate(grouping.lists)
    ]
    if model is None:
        return f"from devices d {' '.join(joins)}"
    from_clause = "from installations i join devices d on d.id = i.device_id"
    return f"{from_clause} {' '.join(joins)} where i.model = {query.bind(model)}"


def _columns(query: _Query, grouping: Grouping, model: str | None) -> list[str]:
    served = f"(d.models is null or {query.bind(model)} = any(d.models))" if model is not None else "true"
    return [
        "d.status",
        "i.version" if model is not None else "cast(null as text)",
        served,
        *(_code(query, key) for key in grouping.keys),
        *(f"(l{index}.device_id is not null)" for index in range(len(grouping.lists))),
        *(_band(query, salt, cuts) for salt, cuts in grouping.bucket_bounds),
    ]


def _code(query: _Query, key: GroupingKey) -> str:
    """`GroupingKey.code` as SQL; attributes set by an operator override those of the device."""
    name = query.bind(key.name)
    value = f"coalesce(d.admin_attributes->{name}, d.attributes->{name})"
    if key.kind == "text":
        return f"({value})::text"
    if key.kind == "words":
        word = f"coalesce(d.admin_attributes->>{name}, d.attributes->>{name})"
        other = f"case when {value} is null then {ABSENT} else {UNMATCHED} end"
        return f"coalesce(array_position({query.bind(list(key.words), 'text[]')}, {word}) - 1, {other})"
    numbers = query.bind([Decimal(str(number)) for number in key.numbers], "numeric[]")
    number = f"({value})::numeric"
    equal = f" - ({number} = any({numbers}))::int" if key.exact else ""
    return (
        f"case jsonb_typeof({value}) when 'number' then 2 * width_bucket({number}, {numbers}){equal} "
        f"else case when {value} is null then {ABSENT} else {UNMATCHED} end end"
    )


def _band(query: _Query, salt: str, cuts: Sequence[int]) -> str:
    """The number of cuts at or below the bucket of a device (`service.domain.targeting.buckets.bucket` in SQL).

    The first eight bytes of the digest become a signed number with the top bit inverted, which is 2^63 too small.
    2^63 is 5808 modulo 10000. Adding it back this way lets the digest appear, and be computed, only once.
    """
    prefix = query.bind(salt.encode() + b"\0", "bytea")
    first = f"encode(substr(sha256({prefix} || textsend(d.id)), 1, 8), 'hex')"
    signed = f"(('x' || {first})::bit(64) # X'8000000000000000')::bigint"
    bucket = f"(({signed} % {BUCKETS} + {BUCKETS + 5808}) % {BUCKETS})::int"
    return f"width_bucket({bucket}, {query.bind(list(cuts), 'int[]')})"


def _group(row: Row[Any], grouping: Grouping) -> DeviceGroup:
    cells: list[Any] = list(row)
    status, version, served, *rest = cells[:-5]
    keys, lists = len(grouping.keys), len(grouping.lists)
    return DeviceGroup(
        example=row.example,
        status=status,
        version=version,
        is_served=served,
        codes=tuple(_read(key, code) for key, code in zip(grouping.keys, rest[:keys], strict=True)),
        on_lists=tuple(rest[keys : keys + lists]),
        bands=tuple(rest[keys + lists :]),
        devices=row.devices,
        silent=row.silent,
        without_attributes=row.bare,
    )


def _read(key: GroupingKey, code: Any) -> Any:
    # For text keys, SQL null means the attribute is absent. For the other kinds, the code itself says so.
    return ABSENT if key.kind == "text" and code is None else code


def _cells(group: DeviceGroup, grouping: Grouping) -> list[str]:
    """The columns of a group as `first_ids` compares them."""
    codes = [
        None if key.kind == "text" and code == ABSENT else code
        for key, code in zip(grouping.keys, group.codes, strict=True)
    ]
    cells = (group.status, group.version, group.is_served, *codes, *group.on_lists, *group.bands)
    return [_cell(cell) for cell in cells]


def _cell(value: Any) -> str:
    """A value as PostgreSQL writes it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
