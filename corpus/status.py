"""A program's latest word about itself, as a small JSON file: how three programs that share no memory are watched.

Written to `data/status/<program>.json` by replacing the file, so a reader sees the old word or the new, never half.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any


def write_status(folder: Path, program: str, status: dict[str, Any]) -> None:
    """Replace the status of `program`. Losing one to a crash is harmless, so nothing is fsynced."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{program}.{os.getpid()}.{threading.get_ident()}.json"
    partial.write_text(json.dumps(status), encoding="utf-8")
    partial.replace(folder / f"{program}.json")


def read_status(folder: Path, program: str) -> dict[str, Any]:
    """The latest status of `program`; empty when it never wrote one."""
    try:
        status = json.loads((folder / f"{program}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}
