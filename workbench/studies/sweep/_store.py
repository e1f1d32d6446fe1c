"""What a sweep's file says of itself, and the parts of one that was interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.model.errors import InputError
from workbench.studies import _store as store
from workbench.studies._engines import source_sha256
from workbench.studies.sweep._axes import Spec

FORMAT = "page-sweep/1"


def description(spec: Spec) -> dict[str, Any]:
    """What a file says of itself."""
    return {
        "format": FORMAT,
        "workbench": __version__,
        "source": source_sha256(),
        "spec_sha256": hashlib.sha256(json.dumps(spec.to_dict()).encode()).hexdigest(),
        "points": spec.nr_points,
        "seed": spec.seed,
        "spec": spec.to_dict(),
    }


class Parts(store.Parts):
    """The parts of one sweep."""

    what, file, key, even = "sweep", "spec.json", b"page_sweep", True

    def __init__(self, out: Path, spec: Spec, batch: int) -> None:
        super().__init__(out, description(spec))
        self.batch = batch

    @property
    def nr_batches(self) -> int:
        """Of the whole sweep."""
        return -(-self.about["points"] // self.batch)

    def size(self, nr: int) -> int:
        """Points of a batch."""
        return min(self.batch, self.about["points"] - nr * self.batch)

    def is_same(self, found: bytes) -> bool:
        """Take over the size of batches; an InputError where they are of another sweep."""
        try:
            there = json.loads(found)
        except ValueError as error:
            raise InputError(f"cannot be read: {error}", file=self.folder / self.file) from None
        refuse(there, self.about, self.folder, "holds parts")
        self.batch = there["batch"]
        return True

    def is_whole(self, nr: int, table: Any) -> bool:
        """Whether each of its points is there."""
        return bool(table.num_rows == self.size(nr))

    def to_dict(self) -> dict[str, Any]:
        """With the size of batches."""
        return self.about | {"batch": self.batch}


def refuse(found: dict[str, Any], own: dict[str, Any], path: Path, what: str) -> None:
    """Raise InputError, naming what differs, where a file is of another sweep."""
    for key in ("format", "workbench", "source", "spec"):
        if found.get(key) == own[key]:
            continue
        name = key
        if key == "spec":
            there = found.get("spec") or {}
            name = next((k for k in {**own["spec"], **there} if there.get(k) != own["spec"].get(k)), key)
            if name == "base":
                name = next(k for k in own["spec"]["base"] if there["base"].get(k) != own["spec"]["base"][k])
        raise InputError(f"{what} of another sweep ({name} differs): remove it, or choose another output",
                         file=path)  # fmt: skip


def totals(schemas: Iterable[Any]) -> tuple[int, int]:
    """Points that were vectorised, and errors, of all batches."""
    found = [(int(s.metadata[b"vectorised"]), int(s.metadata[b"errors"])) for s in schemas]
    return sum(one for one, _ in found), sum(other for _, other in found)
