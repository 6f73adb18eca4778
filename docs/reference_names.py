"""The names that a spec can use without a file: models, hardware, chat templates, formats."""

from collections.abc import Iterator

from ftc.compiler.catalog.accelerators import ACCELERATORS, ARCHITECTURES
from ftc.compiler.catalog.presets import chat_templates, model_presets
from ftc.compiler.rows.formats import FORMATS


def names_page() -> Iterator[str]:
    """The part of the spec's page that lists them."""
    yield "## Names that ftc knows"
    yield "For `model.base` (any Hub id or folder will do as well):"
    yield table(
        "name, Hub id, parameters, positions, chat template",
        [
            [
                f"`{m.name}`",
                f"`{m.hub_id}`",
                number(m.architecture.parameters),
                number(m.architecture.max_position),
                f"`{m.chat_template}`" if m.chat_template else "none of its own",
            ]
            for m in model_presets().values()
        ],
    )
    yield "For `hardware.accelerator`:"
    yield table(
        "name, memory in GB, computes in bfloat16, TFLOPS (dense 16-bit products)",
        [
            [f"`{name}`", str(a.memory), "yes" if a.bfloat16 else "no", f"{a.tflops or 0:g}"]
            for name, a in ACCELERATORS.items()
        ],
    )
    old, new = (
        [f"`{a}`" for a, able in ARCHITECTURES.items() if able is is_new]
        for is_new in (False, True)
    )
    yield (
        "Any other NVIDIA GPU is named by its architecture and its memory in GB, as in `ada-16G` for an RTX 4080. "
        f"{', '.join(new)} compute in bfloat16, {' and '.join(old)} do not. The peak of such a GPU is not known, so "
        "metrics have no MFU."
    )
    yield f"For `model.chat_template`: {', '.join(f'`{name}`' for name in chat_templates())}."
    yield "For `format` of a source, unless it is `auto` or a function of your own:"
    yield "\n\n".join(
        f"- **`{name}`**: {format.help}."
        + (f" `auto` never chooses it: {format.by_name}." if format.by_name else "")
        + f"\n\n  ```json\n  {format.example_row}\n  ```"
        for name, format in FORMATS.items()
    )


def table(columns: str, rows: list[list[str]]) -> str:
    lines = [columns.split(", "), ["---"] * len(columns.split(", ")), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: int | None) -> str:
    return f"{value:,}" if value else "-"
