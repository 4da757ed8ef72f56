"""Who carries out an export: of all runs of the same one, that which came last.

Nobody can tell a run that died from one that is paused, and the clocks of two machines differ. So a run waits
for no other: it takes over from an earlier run of the same export at once, and the earlier one, should it live,
finds its own folder gone, and stops. Both write the same bytes, so nothing that it finished is lost or in the way.
Another export is refused as long as the first one's plan stands.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, NamedTuple

from shardwright.errors import RequestError, RunError
from shardwright.files import list_names, make_folder, read_json, remove
from shardwright.locations import is_url
from shardwright.publishing import write_json, write_new_json
from shardwright.store.output import ATTEMPT_NAME, PLAN_NAME, read_plan, staging_folder


class Claim(NamedTuple):
    """One run's claim to an output."""

    output_root: str
    snapshot_id: str
    attempt: str

    @property
    def folder(self) -> str:
        """Where this run's files wait for their final names; a run that lost its claim can publish none of them."""
        return os.path.join(staging_folder(self.output_root), self.attempt)

    def require(self) -> None:
        """Require that no other run has taken the output over.

        Raises:
            RunError: One has, or the folder was removed.
        """
        plan = read_plan(self.output_root)
        owner = _read_owner(self.output_root)
        if plan is not None and plan["snapshot_id"] == self.snapshot_id and owner.get("attempt") == self.attempt:
            return
        remedy = "Nothing is lost: the same command again goes on, or reports what was finished"
        if plan is None or not owner:
            found = "the export's files were removed while it ran"
        else:
            which = "of this export" if plan["snapshot_id"] == self.snapshot_id else "with another export"
            found = f"a later run {which} has taken over (process {owner.get('process')} on {owner.get('host')})"
        raise RunError(self.output_root, found, remedy)


def claim_output(output_root: str, plan: Mapping[str, Any]) -> Claim:
    """Claim an output folder for a plan, or take over from an earlier run of the same; what runs left is removed.

    Raises:
        RequestError: Another export has claimed it first.
        RunError: Another run of the same export came at the same moment.
    """
    claim = Claim(output_root, plan["snapshot_id"], os.urandom(8).hex())
    try:
        _require_plan(output_root, plan)
        _take_over(claim)
    except FileNotFoundError:
        found = "another run of this export began or ended at the same moment"
        raise RunError(output_root, found, "Run the same command again to see which, and to go on") from None
    return claim


def _require_plan(output_root: str, plan: Mapping[str, Any]) -> None:
    """Let the output's plan be this one: there is none, or it is the same."""
    make_folder(staging_folder(output_root))
    path = os.path.join(staging_folder(output_root), PLAN_NAME)
    if write_new_json(path, plan):
        return
    if read_plan(output_root) is None:
        remove(path)  # a crash of the machine cut it short
        write_new_json(path, plan)
    found = read_plan(output_root)
    if found is None or found["snapshot_id"] != plan["snapshot_id"]:
        remedy = "Pass another output folder, or remove this one when nothing writes to it"
        raise RequestError(output_root, "another export began in this folder meanwhile", remedy)


def _take_over(claim: Claim) -> None:
    """Say that this run is the last that came, and remove what earlier ones left: from then on they publish nothing."""
    staging = staging_folder(claim.output_root)
    started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    owner = {"attempt": claim.attempt, "host": socket.gethostname(), "process": os.getpid(), "started_at": started_at}
    _make_own_folder(claim, owner)
    write_json(os.path.join(staging, ATTEMPT_NAME), owner, claim.folder)
    for name in list_names(staging):
        if name not in (PLAN_NAME, ATTEMPT_NAME, claim.attempt):
            remove(os.path.join(staging, name))
    claim.require()
    # A run that came at the same moment and lost may have taken this one for an earlier one.
    _make_own_folder(claim, owner)


def _make_own_folder(claim: Claim, owner: Mapping[str, Any]) -> None:
    make_folder(claim.folder)
    if is_url(claim.folder):
        # In a store there are no folders: this object is what tasks look for before they publish.
        write_json(os.path.join(claim.folder, ATTEMPT_NAME), owner)


def _read_owner(output_root: str) -> dict[str, Any]:
    """Say which run came last; nothing where a crash of the machine cut that short."""
    with suppress(ValueError):
        found = read_json(os.path.join(staging_folder(output_root), ATTEMPT_NAME))
        return found if isinstance(found, dict) else {}
    return {}
