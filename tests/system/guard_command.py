"""Carries out one command on an arena: `guard_command.py VERB SCRIPT PLACE`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from console.core.model.commands import Command, Verb
from console.system.box import open_box
from console.system.config.schema import RoleSettings, Settings
from console.system.guard.guard import Guard

verb, script, place = sys.argv[1:4]
settings = Settings(roles={"worker": RoleSettings(match=script, grace_s=1.0)})
with open_box(settings, Path(place) / "state") as box:
    outcome = Guard(box).carry_out(Command(Verb(verb), "worker", "asker"))
(Path(place) / "answer").write_text(f"{outcome.code} {outcome.message}\n")
