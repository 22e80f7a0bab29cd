"""A robot's folders: events, models, what the loop makes; and its round, by the commands a person would give."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from bench.loop.place import Place
from semlt3d_ros.adaptation.gate import judge
from semlt3d_ros.adaptation.models import CURRENT, ModelStore
from semlt3d_ros.adaptation.status import Status, read_status
from semlt3d_ros.adaptation.verdict import Verdict
from semlt3d_ros.adaptation.verdict_page import write_page
from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.datasets.opening import Progress
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.simulation.generation import GenerationRecipe

_CONFIG = Path(__file__).resolve().parents[2] / "config"
_HOME_SEED = 957_000
HOME = DataSpec(
    simulate=GenerationRecipe(
        first_seed=_HOME_SEED, drives=60, frames=3, interval_s=0.5, drives_per_shard=30, class_exponent=0.5
    )
)
"""The city that the shipped student knows, where forgetting shows. The loop's own regression set is another."""


@dataclass(frozen=True)
class Robot:
    """One.

    Attributes:
        folder: of everything that it has.
        data: where frames are kept, of replay and of what judges: all robots share them.
    """

    folder: Path
    data: Path

    @property
    def events(self) -> Path:
        """Where the event recorder writes."""
        return self.folder / "events"

    @property
    def models(self) -> Path:
        """The detector's model folder."""
        return self.folder / "models"

    @property
    def before(self) -> Path:
        """The checkpoint that it came with."""
        return self.folder / "before.safetensors"

    def prepare(self) -> None:
        """Give it the shipped student, if it has none."""
        work = self.folder / "work"
        for folder in (work, self.data):
            folder.mkdir(parents=True, exist_ok=True)
        if not (work / "data").exists():
            (work / "data").symlink_to(self.data, target_is_directory=True)
        if not self.before.exists():
            shutil.copyfile(default_checkpoint(), self.before)
        store = ModelStore(self.models)
        if store.current() is None:
            store.promote(store.add(self.before, {"origin": "comes with the package"}).name)

    def learn(self, place: Place, threads: int) -> Status:
        """One round of the loop, with its progress on the terminal.

        Raises:
            Semlt3dError: the command ended badly.
        """
        values: dict[str, Any] = yaml.safe_load((_CONFIG / "adaptation.yaml").read_text())
        values |= {name: str(self.folder / name) for name in ("events", "models", "work")}
        values |= {"recipe": str(_CONFIG / "recipes" / "adapt.yaml"), "priority": "normal", "threads": threads}
        settings = self.folder / "adaptation.yaml"
        settings.write_text(yaml.safe_dump(values | place.loop, sort_keys=False))
        command = [sys.executable, "-m", "semlt3d_ros.cli", "distil", str(settings)]
        if subprocess.run(command, check=False).returncode:
            raise Semlt3dError(f"{' '.join(command[1:])} ended badly; run it to see why")
        status = read_status(self.folder / "work")
        assert status is not None
        return status

    def compare(self, place: Place, progress: Progress) -> Verdict:
        """What it came with against what runs now, on ground truth that nobody learnt from, there and at home."""
        running = self.models / CURRENT
        settings = replace(place.gate, data_folder=self.data)
        verdict = judge(running, self.before, [place.judged], [HOME], settings, progress)
        write_page(verdict, self.folder / "comparison")
        return verdict

    def remember(self, name: str, figures: Any) -> None:
        """Write down that a stage is done, and what came of it."""
        (self.folder / f"{name}.json").write_text(json.dumps(figures, indent=1, default=str) + "\n")

    def recall(self, name: str) -> Any:
        """What came of a stage; None where it is not done."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None
