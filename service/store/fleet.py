"""The fleet, counted in groups of devices that agree in all that a lens looks at. Reads only.

One pass over `devices` and, where a model is asked about, `installations`; nothing here reads attempts or events.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from service.domain.cohorts import BUCKETS
from service.domain.fleet import ABSENT, NEITHER, Key, Lens

MAX_GROUPS = 100_000
"""The largest groups; what is behind them is counted without being told apart."""

MANY = 20
"""So many times more devices than are asked for are come by quickly in the order of their ids."""

# An estimate of distinct expressions is close to the number of rows, and the planner would sort a million of them by text.
# Hashing a few thousand groups is what it comes to, and each row's digest and attributes are worth a parallel worker.
_TUNING = (
    "work_mem = '64MB'",
    "enable_sort = off",
    "parallel_setup_cost = 0",
    "parallel_tuple_cost = 0",
)


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that no decision tells apart.

    Attributes:
        example: the least id among them.
        version: what they run, as they last said.
        served: whether they were let in for the model.
        codes: one for each key of the lens, see `domain.fleet.Key`.
        on_lists: one for each list of the lens.
        bands: one for each salt of the lens: how many of its cuts lie at or below the bucket.
        silent: of `devices`, how many have not been heard of since a moment.
        bare: of `devices`, how many have no attributes at all.
    """

    example: str
    status: str
    version: str | None
    served: bool
    codes: tuple[Any, ...]
    on_lists: tuple[bool, ...]
    bands: tuple[int, ...]
    devices: int
    silent: int
    bare: int


@dataclass(frozen=True, slots=True)
class Count:
    """The fleet in groups.

    Attributes:
        groups: largest first.
        uncounted: devices in groups beyond the limit.
    """

    groups: Sequence[Group]
    uncounted: int


@dataclass(slots=True)
class _Query:
    """SQL and its values, while it is put together."""

    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any, kind: str = "text") -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"cast(:{name} as {kind})"


def groups(
    session: Session, lens: Lens, *, model: str | None, silent_since: datetime, limit: int = MAX_GROUPS
) -> Count:
    """The groups, largest first.

    Args:
        session: whose transaction is read.
        lens: what tells devices apart.
        model: devices that have asked about it, with what they run; None for all devices, whatever they run.
        silent_since: devices seen last, or enrolled and never seen, before this moment count as silent.
        limit: at most so many groups.
    """
    query = _Query()
    columns = _columns(query, lens, model)
    names = ", ".join(f"c{index}" for index in range(len(columns)))
    selected = ", ".join(f"{column} as c{index}" for index, column in enumerate(columns))
    sql = f"""
      select {selected}, count(*) as devices,
        count(*) filter (where coalesce(d.seen_at, d.enrolled_at) < {query.bind(silent_since, "timestamptz")}) as silent,
        count(*) filter (where d.attributes = '{{}}' and d.admin_attributes = '{{}}') as bare,
        min(d.id collate "C") as example, sum(count(*)) over () as fleet
      {_source(query, lens, model)} group by {names} order by devices desc, example limit {query.bind(limit, "int")}
    """
    with _tuned(session):
        rows = session.execute(text(sql), query.values).all()
    found = [_group(row, lens) for row in rows]
    fleet = int(rows[0].fleet) if rows else 0
    return Count(found, fleet - sum(group.devices for group in found))


def first_ids(
    session: Session, lens: Lens, wanted: Sequence[Group], *, model: str | None, limit: int
) -> list[str]:
    """The first devices of some groups, in order of their id."""
    if not wanted or limit < 1:
        return []
    query = _Query()
    columns = [f"coalesce(({column})::text, '')" for column in _columns(query, lens, model)]
    cells = [_cells(group, lens) for group in wanted]
    # The unit separator cannot be in a JSON text, and the others are numbers, labels and states.
    lines = query.bind(["\x1f".join(line) for line in cells], "text[]")
    conditions = [f"concat_ws(chr(31), {', '.join(columns)}) = any({lines})"]
    if sum(group.devices for group in wanted) < MANY * limit:
        # Found by a walk in the order of ids, most would have to be looked at: better each column alone first, so that
        # no line is put together, and no digest made, for those who are out already.
        conditions[:0] = [
            f"{column} = any({query.bind(sorted(set(values)), 'text[]')})"
            for column, values in zip(columns, zip(*cells, strict=True), strict=True)
        ]
    sql = f"""
      select d.id {_source(query, lens, model)} {"and" if model is not None else "where"}
      {" and ".join(conditions)} order by d.id limit {query.bind(limit, "int")}
    """
    return list(session.scalars(text(sql), query.values))


def entitled(session: Session, model: str) -> int:
    """Devices that have enrolled, are in service, and may have the model, whether they have asked about it or not."""
    sql = """
      select count(*) from devices
      where status <> 'decommissioned' and (models is null or :model = any(models))
    """
    return int(session.scalar(text(sql), {"model": model}) or 0)


@contextmanager
def _tuned(session: Session) -> Iterator[None]:
    """The planner's settings for a pass over the whole fleet, put back afterwards."""
    for setting in _TUNING:
        session.execute(text(f"set local {setting}"))
    yield
    for setting in _TUNING:
        session.execute(text(f"set local {setting.split()[0]} to default"))


def _source(query: _Query, lens: Lens, model: str | None) -> str:
    joins = [
        f"left join cohort_members l{index} on l{index}.cohort = {query.bind(name)} and l{index}.device_id = d.id"
        for index, name in enumerate(lens.lists)
    ]
    if model is None:
        return f"from devices d {' '.join(joins)}"
    asked = "from installations i join devices d on d.id = i.device_id"
    return f"{asked} {' '.join(joins)} where i.model = {query.bind(model)}"


def _columns(query: _Query, lens: Lens, model: str | None) -> list[str]:
    served = f"(d.models is null or {query.bind(model)} = any(d.models))" if model is not None else "true"
    return [
        "d.status",
        "i.version" if model is not None else "cast(null as text)",
        served,
        *(_code(query, key) for key in lens.keys),
        *(f"(l{index}.device_id is not null)" for index in range(len(lens.lists))),
        *(_band(query, salt, cuts) for salt, cuts in lens.cuts),
    ]


def _code(query: _Query, key: Key) -> str:
    """What `Key.code` says, of an operator's word before the device's own."""
    name = query.bind(key.name)
    value = f"coalesce(d.admin_attributes->{name}, d.attributes->{name})"
    if key.kind == "text":
        return f"({value})::text"
    if key.kind == "words":
        word = f"coalesce(d.admin_attributes->>{name}, d.attributes->>{name})"
        other = f"case when {value} is null then {ABSENT} else {NEITHER} end"
        return f"coalesce(array_position({query.bind(list(key.words), 'text[]')}, {word}) - 1, {other})"
    numbers = query.bind([Decimal(str(number)) for number in key.numbers], "numeric[]")
    number = f"({value})::numeric"
    equal = f" - ({number} = any({numbers}))::int" if key.exact else ""
    return (
        f"case jsonb_typeof({value}) when 'number' then 2 * width_bucket({number}, {numbers}){equal} "
        f"else case when {value} is null then {ABSENT} else {NEITHER} end end"
    )


def _band(query: _Query, salt: str, cuts: Sequence[int]) -> str:
    """How many cuts lie at or below the bucket, which is `domain.cohorts.bucket` in SQL.

    The eight bytes are read as a signed number with its first bit turned over, that is 2^63 too small, and 2^63 is
    5808 modulo 10000; so the digest stands in the expression once, and is computed once.
    """
    prefix = query.bind(salt.encode() + b"\0", "bytea")
    first = f"encode(substr(sha256({prefix} || textsend(d.id)), 1, 8), 'hex')"
    signed = f"(('x' || {first})::bit(64) # X'8000000000000000')::bigint"
    bucket = f"(({signed} % {BUCKETS} + {BUCKETS + 5808}) % {BUCKETS})::int"
    return f"width_bucket({bucket}, {query.bind(list(cuts), 'int[]')})"


def _group(row: Row[Any], lens: Lens) -> Group:
    cells: list[Any] = list(row)
    status, version, served, *rest = cells[:-5]
    keys, lists = len(lens.keys), len(lens.lists)
    return Group(
        example=row.example,
        status=status,
        version=version,
        served=served,
        codes=tuple(_read(key, code) for key, code in zip(lens.keys, rest[:keys], strict=True)),
        on_lists=tuple(rest[keys : keys + lists]),
        bands=tuple(rest[keys + lists :]),
        devices=row.devices,
        silent=row.silent,
        bare=row.bare,
    )


def _read(key: Key, code: Any) -> Any:
    # No JSON text is empty or null in SQL, whereas any number may be a device's own.
    return ABSENT if key.kind == "text" and code is None else code


def _cells(group: Group, lens: Lens) -> list[str]:
    """A group as `first_ids` compares it, column by column."""
    codes = [
        None if key.kind == "text" and code == ABSENT else code
        for key, code in zip(lens.keys, group.codes, strict=True)
    ]
    cells = (group.status, group.version, group.served, *codes, *group.on_lists, *group.bands)
    return [_cell(cell) for cell in cells]


def _cell(value: Any) -> str:
    """As the database spells it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
