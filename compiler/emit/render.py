"""Plan -> Files. Which template serves which plan is chosen in a module for each emitted file."""

from __future__ import annotations

from ..facts.gather import CopyKey, Facts
from ..plan.identity import plan_id
from ..plan.plan import Plan
from . import chat, convert, deploy, ds_config, launch, readme, requirements, train
from .files import File, Files
from .vendor import vendored_files

EMITTED = (readme, train, launch, convert, chat, deploy, ds_config, requirements)
IGNORED = "checkpoints/\nlogs/\nexport/\nprevious/\n.running\n.deploy-venv/\n__pycache__/\n"


def render(
    plan: Plan, facts: Facts, names: dict[CopyKey, str], spec_name: str, spec_text: str
) -> Files:
    """Every file of the run directory but ftc.lock. `names`: where copied data files go."""
    run = {"spec_name": spec_name, "plan_id": plan_id(plan)}
    texts = {"chat_template.jinja": plan.template, "spec.toml": spec_text, ".gitignore": IGNORED}
    for module in EMITTED:
        texts |= module.files(plan, facts, run)
    files = {
        path: File(text.encode("utf-8", "surrogateescape"), path.endswith(".sh"))
        for path, text in texts.items()
    }
    for key, _, content in facts.copied():
        files[names[key]] = File(content)
    if plan.vendor_runtime.value:
        files |= {path: File(content) for path, content in vendored_files().items()}
    return dict(sorted(files.items()))
