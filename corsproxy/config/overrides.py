"""What the command line says instead of the file.

Here:  the few keys that it may say, put into a table before that is checked.
Never: command lines (cli), the rules of these keys.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from corsproxy.config.table import Address, AdminListener, Log

__all__ = ["NO_OVERRIDES", "Overrides"]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the file; None = nothing."""

    listen: Address | None = None
    admin: Address | None = None
    admin_off: bool = False
    workers: int | None = None
    log_format: str | None = None

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """These, as JSON can hold them."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Overrides":  # Any: JSON, written by `as_json` of this version
        """These again."""
        addresses = {key: Address(**data[key]) for key in ("listen", "admin") if data[key] is not None}
        return Overrides(**{**data, **addresses})

    def admin_for(self, admin: AdminListener | None) -> AdminListener | None:
        """Where the admin listener is; None = there is none. admin: the file's."""
        if self.admin_off:
            return None
        if self.admin is None:
            return admin
        return AdminListener(self.admin) if admin is None else replace(admin, address=self.admin)

    def workers_for(self, workers: int) -> int:
        """How many processes serve; 0 = one for each core."""
        return workers if self.workers is None else self.workers

    def log_for(self, log: Log) -> Log:
        """How the log is written."""
        return log if self.log_format is None else replace(log, format=self.log_format)  # type: ignore[arg-type] # the command line checked it


NO_OVERRIDES = Overrides()
