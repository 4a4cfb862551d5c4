"""Caches the explicit device lists of cohorts: a list of 100,000 ids is read again only when it has changed."""

from sqlalchemy.orm import Session

from service import store


class MembershipCache:
    """The lists that this process has read; one instance per process."""

    def __init__(self) -> None:
        """Start empty."""
        self._cache: dict[str, tuple[object, frozenset[str]]] = {}

    def read(self, session: Session) -> dict[str, frozenset[str]]:
        """Cohort name -> device ids, as the session sees them."""
        checksums = store.cohorts.list_checksums(session)
        self._cache = {name: self._newest(session, name, checksum) for name, checksum in checksums.items()}
        return {name: members for name, (_, members) in self._cache.items()}

    def _newest(self, session: Session, name: str, checksum: object) -> tuple[object, frozenset[str]]:
        cached = self._cache.get(name)
        if cached is not None and cached[0] == checksum:
            return cached
        return checksum, store.cohorts.members_of(session, name)
