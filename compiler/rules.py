"""What keys mean together: one named function for each rule. They judge and change nothing.

A rule takes the spec, the facts and the document (for places) and yields diagnostics. The rules
stand in `rules_hardware`, `rules_method`, `rules_model`, `rules_optim`, `rules_training`, `rules_tracking`
and `rules_sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import (
    rules_experts,
    rules_hardware,
    rules_method,
    rules_model,
    rules_optim,
    rules_parallel,
    rules_sources,
    rules_tracking,
    rules_training,
)
from .diagnostics import Diagnostic
from .facts import Facts
from .load import Document
from .spec import Spec

Rule = Callable[[Spec, Facts, Document], Iterator[Diagnostic]]

RULES: tuple[Rule, ...] = (
    rules_hardware.batch_divides,
    rules_hardware.accelerator_known,
    rules_hardware.dtype_fits,
    rules_hardware.attention_fits,
    rules_hardware.zero_fits_method,
    rules_hardware.offload_fits,
    rules_hardware.engine_fits,
    rules_parallel.groups_are_whole,
    rules_parallel.sequences_can_be_shared,
    rules_optim.optimizer_reads_its_keys,
    rules_optim.optimizer_has_its_device,
    rules_optim.muon_is_not_clipped,
    rules_optim.matrices_stay_whole,
    rules_optim.schedule_reads_its_keys,
    rules_optim.decay_follows_warmup,
    rules_training.one_length,
    rules_training.one_warmup,
    rules_training.one_validation,
    rules_training.validation_is_used,
    rules_training.best_is_evaluated,
    rules_training.patience_can_end,
    rules_training.loss_is_chosen,
    rules_training.group_or_pack,
    rules_training.truncates,
    rules_training.adapter_is_merged,
    rules_training.chat_samples,
    rules_model.kernels_fit,
    rules_tracking.trackers_once,
    rules_tracking.something_goes_online,
    rules_model.length_fits_model,
    rules_model.rope_is_known,
    rules_model.rope_keys_fit,
    rules_model.dynamic_is_alone,
    rules_method.names_exist,
    rules_method.patterns_match,
    rules_method.blocks_exist,
    rules_method.blocks_have_names,
    rules_method.start_fits,
    rules_method.orthogonal_is_dense,
    rules_method.ranks_are_even,
    rules_method.dora_fits,
    rules_method.loraplus_fits,
    rules_experts.experts_fit,
    rules_experts.experts_go_in_pairs,
    rules_method.saved_or_adapted,
    rules_method.saved_is_trainable,
    rules_method.quantization_fits,
    rules_model.samples_may_share_rows,
    rules_sources.source_keys_fit,
    rules_sources.formats_can_be_trained,
    rules_sources.files_are_named_once,
    rules_sources.held_out_is_not_trained,
    rules_sources.data_is_pinned,
    rules_sources.weights_have_a_source,
    rules_sources.model_is_pinned,
    rules_sources.no_secret,
)
