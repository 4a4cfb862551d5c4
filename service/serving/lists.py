"""The explicit lists of cohorts, kept from one snapshot to the next: a list of 100,000 ids is read when it has changed."""

from sqlalchemy.orm import Session

from service import store


class Lists:
    """What one process has read so far."""

    def __init__(self) -> None:
        """Start with none."""
        self._kept: dict[str, tuple[object, frozenset[str]]] = {}

    def read(self, session: Session) -> dict[str, frozenset[str]]:
        """Cohort name -> device ids, as of the session's view."""
        marks = store.cohorts.list_marks(session)
        self._kept = {name: self._newest(session, name, mark) for name, mark in marks.items()}
        return {name: members for name, (_, members) in self._kept.items()}

    def _newest(self, session: Session, name: str, mark: object) -> tuple[object, frozenset[str]]:
        kept = self._kept.get(name)
        if kept is not None and kept[0] == mark:
            return kept
        return mark, store.cohorts.members_of(session, name)
