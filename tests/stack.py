"""A live installation for tests: `testkit.live_installation`, with what only tests need.

Nothing starts before a test asks for it:

    def test_something(stack):
        stack.start("gateway", "worker")          # waits until they are ready; those that run stay as they are
        api = stack.manage_json("launch_api", "1", "--type", "trial", "--wait", "--json")
        stack.gateway.kill()                      # SIGKILL, to the master process only
        stack.psql("SELECT status FROM apimgmt_predictionapi WHERE id = %s", [api["api_id"]])
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from testkit.live_installation import LiveInstallation, Service, fresh_variables, http_status

__all__ = ["Service", "Stack", "fresh_variables", "http_status"]

_NOT_FOR_PROCESSES = ("DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER")

live_stacks: list[LiveInstallation] = []
"""Those that exist at this moment: what a failing test shows the logs of."""

pytest_config: Any = None
"""Set by the conftest: `Stack.orm` needs pytest-django's own switch."""


class Stack(LiveInstallation):
    """An installation of its own, whose processes know nothing of pytest."""

    def __init__(self, variables: dict[str, str], *, template: str | None = None) -> None:
        kept = {name: value for name, value in variables.items() if name not in _NOT_FOR_PROCESSES}
        super().__init__(kept, template=template)
        live_stacks.append(self)

    def close(self) -> None:
        live_stacks.remove(self)
        super().close()

    @contextmanager
    def orm(self) -> Iterator[None]:
        """Django's models and services of this process work on this installation: for the shared stack only,
        whose VAR_DIR, secrets and broker this process has too; and not in a test that is marked `django_db`."""
        from django.db import connection
        from pytest_django.plugin import blocking_manager_key

        assert self.env["VAR_DIR"] == os.environ["VAR_DIR"], "orm() is for the shared stack"
        assert pytest_config is not None
        with pytest_config.stash[blocking_manager_key].unblock():
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # the event loop that Django would see is Playwright's
            connection.close()
            before = connection.settings_dict["NAME"]
            connection.settings_dict["NAME"] = self.database
            try:
                yield
            finally:
                connection.close()
                connection.settings_dict["NAME"] = before
                del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
