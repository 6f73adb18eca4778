"""What keys mean together: one named function for each rule. They judge and change nothing.

A rule takes the spec, the facts and the document (for places) and yields diagnostics. The rules
stand in the modules that are imported here, which are named after what they are about.
"""

from __future__ import annotations

from . import (
    base,
    data,
    experts,
    hardware,
    hub,
    method,
    model,
    optim,
    outputs,
    parallel,
    targets,
    tokens,
    train,
)
from .data import group_or_pack, loss_is_chosen, one_validation, truncates
from .deploy import engine_fits
from .optim import one_warmup
from .outputs import adapter_is_merged, chat_samples
from .parallel import offload_fits, zero_fits_method
from .pinned import model_is_pinned, no_secret, weights_have_a_source
from .rule import Rule
from .train import batch_divides

RULES: tuple[Rule, ...] = (
    batch_divides,
    hardware.accelerator_known,
    hardware.dtype_fits,
    hardware.attention_fits,
    zero_fits_method,
    offload_fits,
    engine_fits,
    parallel.accumulation_fits,
    parallel.groups_are_whole,
    parallel.heads_can_be_shared,
    parallel.sequences_can_be_shared,
    optim.optimizer_reads_its_keys,
    optim.optimizer_has_its_device,
    optim.muon_is_not_clipped,
    optim.matrices_stay_whole,
    optim.schedule_reads_its_keys,
    optim.decay_follows_warmup,
    train.one_length,
    one_warmup,
    one_validation,
    train.validation_is_used,
    train.best_is_evaluated,
    train.patience_can_end,
    loss_is_chosen,
    group_or_pack,
    truncates,
    adapter_is_merged,
    chat_samples,
    model.kernels_fit,
    outputs.trackers_once,
    outputs.something_goes_online,
    base.goes_on_with_a_text,
    base.has_its_head,
    base.own_code_is_trusted,
    hub.weights_are_plain,
    hub.own_code_of_the_hub,
    model.can_be_quantized,
    model.length_fits_model,
    model.session_fits_model,
    tokens.tokens_have_embeddings,
    tokens.date_is_told,
    tokens.tokenizer_is_there,
    model.rope_is_known,
    model.rope_keys_fit,
    model.dynamic_is_alone,
    targets.names_exist,
    targets.parts_exist,
    targets.layers_are_adapted,
    targets.tied_layers_stay,
    method.patterns_match,
    targets.blocks_exist,
    targets.blocks_have_names,
    method.start_fits,
    method.orthogonal_is_dense,
    method.ranks_are_even,
    method.dora_fits,
    method.loraplus_fits,
    experts.experts_fit,
    experts.experts_go_in_pairs,
    method.saved_or_adapted,
    method.saved_is_trainable,
    method.quantization_fits,
    model.samples_may_share_rows,
    model.rows_fit_model,
    data.source_keys_fit,
    data.formats_can_be_trained,
    data.files_are_named_once,
    data.held_out_is_not_trained,
    data.data_is_pinned,
    weights_have_a_source,
    model_is_pinned,
    no_secret,
)
