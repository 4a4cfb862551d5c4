"""A database outage: no new connections, and existing ones are terminated."""

import psycopg


class Outage:
    """A context manager; the outage lasts as long as the block."""

    def __init__(self, url):
        server, self._name = url.replace("+psycopg", "").rsplit("/", 1)
        self._server = f"{server}/postgres"

    def __enter__(self):
        self._run(f"alter database {self._name} allow_connections false")
        self._run(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{self._name}'")
        return self

    def __exit__(self, *_error):
        self._run(f"alter database {self._name} allow_connections true")

    def _run(self, command):
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(command)
