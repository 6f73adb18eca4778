"""What makes each optimizer: the passage of train.py, and the class where several share one."""

from __future__ import annotations

OPTIMIZERS = {
    "adamw": ("adamw", ""),
    "adamw_8bit": ("bitsandbytes", "AdamW8bit"),
    "paged_adamw": ("bitsandbytes", "PagedAdamW32bit"),
    "paged_adamw_8bit": ("bitsandbytes", "PagedAdamW8bit"),
    "lion": ("lion", "Lion32bit"),
    "lion_8bit": ("lion", "Lion8bit"),
    "adafactor": ("adafactor", ""),
    "muon": ("muon", ""),
}
