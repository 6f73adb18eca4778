"""What other tools call the keys of a spec, so that an unknown key gets an answer.

A word has one meaning here: the key that does the same, or a sentence where no key does.
"""

from __future__ import annotations

# Key of the language -> its names in XTuner, LLaMA-Factory, Axolotl, TRL, ms-swift, torchtune, ...
ELSEWHERE = {
    "name": "experiment_name",
    "seed": "random_seed rng_seed data_seed",
    "model.base": "base_model model_name_or_path model_id llm pretrained_model_name_or_path",
    "model.dtype": "torch_dtype bf16 fp16 precision mixed_precision",
    "model.attention": "attn_implementation flash_attn flash_attention use_flash_attention "
    "sdp_attention",
    "model.chat_template": "template prompt_template template_type",
    "model.max_seq_length": "max_length cutoff_len sequence_len max_seq_len seq_len block_size",
    "model.rope_scaling.type": "rope_type",
    "model.rope_scaling.original_max_position": "original_max_position_embeddings",
    "model.gradient_checkpointing": "activation_checkpointing enable_activation_checkpointing",
    "model.fused_kernels": "use_liger_kernel enable_liger_kernel liger",
    "method.kind": "adapter finetuning_type tuner_type train_type",
    "method.rank": "r lora_r lora_rank",
    "method.alpha": "lora_alpha",
    "method.dropout": "lora_dropout",
    "method.target_modules": "lora_target lora_target_modules lora_target_linear",
    "method.freeze": "freeze_parameters frozen_parameters freeze_modules",
    "method.neftune_noise_alpha": "neftune_alpha neftune noisy_embedding_alpha",
    "method.init_lora_weights": "init_weights lora_init peft_init_lora_weights pissa_init",
    "method.use_dora": "dora peft_use_dora",
    "method.use_rslora": "rslora peft_use_rslora",
    "method.loraplus_lr_ratio": "lora_plus_ratio lorap_lr_ratio",
    "method.modules_to_save": "additional_target lora_modules_to_save",
    "method.layers_to_transform": "peft_layers_to_transform",
    "method.quantization.bits": "quantization_bit quant_bits",
    "method.quantization.compute_dtype": "bnb_4bit_compute_dtype",
    "method.quantization.int8_threshold": "llm_int8_threshold",
    "method.quantization.type": "bnb_4bit_quant_type quant_type",
    "method.quantization.double_quant": "bnb_4bit_use_double_quant use_double_quant",
    "data.train": "dataset datasets train_dataset train_file train_files data_files",
    "data.train.source": "path file name file_name data_path dataset_name",
    "data.train.format": "type formatting dataset_format dataset_map_fn prompt_style",
    "data.validation": "eval eval_dataset test val valid validation_dataset test_datasets",
    "data.validation_fraction": "val_size val_set_size test_size split_dataset_ratio",
    "data.packing": "sample_packing packed pack_to_max_length",
    "data.on_overlong": "truncation truncation_strategy excess_length_strategy",
    "data.loss_on": "train_on_inputs train_on_input train_on_prompt mask_history "
    "assistant_only_loss completion_only_loss",
    "optim": "optim_wrapper",
    "optim.optimizer": "optim optim_type optimizer_type",
    "optim.learning_rate": "lr",
    "optim.lr_scheduler": "param_scheduler scheduler schedule lr_scheduler_type lr_decay_style",
    "optim.warmup_ratio": "warmup lr_warmup_fraction",
    "optim.warmup_steps": "lr_warmup_steps num_warmup_steps warmup_iters",
    "optim.decay_ratio": "lr_decay_ratio decay_steps num_decay_steps",
    "optim.max_grad_norm": "clip_grad_norm grad_clip gradient_clipping max_norm",
    "optim.min_lr_ratio": "min_lr eta_min",
    "optim.betas": "adam_betas adam_beta1 adam_beta2",
    "optim.eps": "adam_epsilon epsilon",
    "deploy.session_len": "max_model_len session_length context_length max_context_length",
    "train.num_epochs": "epochs num_train_epochs max_epochs total_epoch",
    "train.max_steps": "max_iters total_step total_steps num_steps max_train_steps",
    "train.global_batch_size": "batch_size train_batch_size",
    "train.micro_batch_size": "per_device_train_batch_size device_batch_size",
    "train.log_every": "logging_steps log_interval log_every_n_steps",
    "train.save_every": "save_steps save_interval checkpoint_interval",
    "train.eval_every": "eval_steps eval_interval",
    "train.keep_checkpoints": "save_total_limit max_keep_ckpts",
    "train.keep_best": "load_best_model_at_end save_best",
    "train.early_stopping_patience": "patience early_stopping early_stop_patience",
    "hardware.accelerator": "gpu gpu_type",
    "hardware.nodes": "num_nodes nnodes",
    "hardware.devices_per_node": "devices gpus num_gpus nproc_per_node gpus_per_node",
    "parallel": "strategy",
    "parallel.zero_stage": "deepspeed zero stage zero_optimization",
    "parallel.sequence_parallel_size": "sp_size sequence_parallel sequence_parallel_degree context_parallel_size",
    "parallel.offload_optimizer": "cpu_offload offload",
    "samples.prompts": "evaluation_inputs sample_prompts",
    "samples.every": "evaluation_freq every_n_steps",
    "tracking.trackers": "report_to log_with visualizer",
    "tracking.project": "wandb_project swanlab_project project_name",
    "chat.system": "system_prompt default_system",
}
RENAMED = {word: path for path, words in ELSEWHERE.items() for word in words.split()}

# What is no key here: words, and why.
REASONS = {
    "gradient_accumulation_steps accumulative_counts grad_accum_steps": "accumulation follows: "
    "global_batch_size / (devices x micro_batch_size)",
    "output_dir work_dir out_dir save_dir": "the run directory is named when the spec is compiled: "
    "`ftc compile -o DIR`",
    "overwrite_output_dir overwrite_cache dataset_prepared_path": "compiling again replaces what was "
    "generated, and tokens are cached by the content of their rows",
    "resume resume_from_checkpoint auto_resume": "a run is continued with "
    "`bash launch.sh --resume latest`",
    "load_in_4bit": 'a 4-bit base is `kind = "qlora"` in [method]',
    "load_in_8bit": 'an 8-bit base is `kind = "qlora"` in [method], with `bits = 8` in '
    "[method.quantization]",
    "use_peft peft use_lora": 'adapters are `kind = "lora"` in [method]',
    "do_train task task_type": "what is trained is said by `kind` in [method]",
    "do_eval do_predict eval_strategy evaluation_strategy save_strategy logging_strategy "
    "evals_per_epoch saves_per_epoch": "[train] counts in steps: log_every, save_every, eval_every",
    "per_device_eval_batch_size eval_batch_size": "the validation has batches of micro_batch_size",
    "num_workers dataloader_num_workers preprocessing_num_workers dataset_num_proc num_proc": "rows "
    "become tokens before training, once, and the cache has them from then on",
    "pad_to_sequence_len pad_to_max_length": "packed sequences are full, and others padded to the "
    "longest of their batch",
    "shuffle shuffle_dataset": "rows come in an order that `seed` decides",
    "special_tokens eos_token pad_token bos_token new_special_tokens add_tokens": "the tokens are "
    "those of the base's tokenizer",
    "fsdp fsdp_config fsdp_cfg": "DeepSpeed shares a run out: `zero_stage` in [parallel]",
    "tensor_parallel_size pipeline_parallel_size tp_size pp_size": "weights are shared out by "
    "`zero_stage` in [parallel]",
    "bnb_4bit_quant_storage": "4-bit weights are kept as bytes, which every ZeRO stage shares out",
    "gguf gguf_quantization": "convert.sh makes a model in Hugging Face form, and llama.cpp's "
    "convert_hf_to_gguf.py takes that",
    "columns field_messages field_instruction field_output message_property_mappings": "the format says "
    'which columns are read; for others, write a function: `format = "my_formats.py:FUNCTION"`',
    "default_hooks custom_hooks hooks": "logs and checkpoints are told by [train], answers while it trains "
    "by [samples]",
    "top_k": "tokens are drawn by temperature and top_p",
    "push_to_hub hub_model_id hub_token": "convert.sh makes a folder, and `hf upload` takes it",
    "wandb use_wandb swanlab use_swanlab mlflow trackio tensorboard logging logger": "a tracker is named by "
    "`trackers` in [tracking]",
    "strict": "every key is checked, always",
    "plot_loss": "logs/metrics.jsonl has the losses, and a tracker draws them: [tracking]",
    "ddp_timeout": "a step that hangs is reported without being asked to",
    "cache_dir": "the environment says where caches are: HF_HOME, FTC_CACHE",
}
# Preference and reinforcement learning, by the names of what it is called and of its settings.
OBJECTIVES = (
    "dpo ipo orpo kto simpo cpo apo bco rpo rl rlhf ppo grpo rloo dapo gspo preference objective reward rm "
    "reward_model reward_modeling reward_modelling"
)
OBJECTIVE_KEYS = (
    "beta rl_algorithm pref_beta pref_loss pref_ftx simpo_gamma kto_chosen_weight kto_rejected_weight "
    "dpo_beta orpo_beta orpo_alpha rl_beta loss_type rlhf_type desirable_weight "
    "undesirable_weight ref_model ref_model_path ref_adapter reference_free max_prompt_length kl_coef "
    "num_generations reward_funcs reward_funcs_path cliprange trl"
)
NO_OBJECTIVE = (
    "ftc tunes a model to give the answers that it is shown; preference learning (DPO, ORPO, KTO), reward "
    "models and reinforcement learning (PPO, GRPO) are not here yet"
)
PAIRS = "of preference pairs, `ftc data export` checks the rows and writes them in one form"

# What others give as the kind of training: words, and what to do about it.
KINDS = {
    OBJECTIVES: (NO_OBJECTIVE, PAIRS),
    "sft supervised finetune instruct chat": (
        "every run learns from answers; `kind` says what is trained for it: adapters (lora, qlora) or every "
        "weight (full)",
    ),
    "pt pretrain pretraining cpt continue_pretraining": (
        "`kind` says what is trained: adapters (lora, qlora) or every weight (full)",
        'plain text is learnt with `format = "pretrain"` in [[data.train]]',
    ),
    "full_finetune full-finetune full_finetuning full-finetuning full_param full_parameter fft all none": (
        'write `kind = "full"`',
    ),
    "freeze freeze_tuning": (
        'write `kind = "full"`, and below it `freeze` with what is not trained',
    ),
    "qlora_4bit lora_4bit 4bit qlora4bit": ('write `kind = "qlora"`',),
    "dora": ('write `kind = "lora"`, and below it `use_dora = true`',),
    "qdora": ('write `kind = "qlora"`, and below it `use_dora = true`',),
    "rslora": ('write `kind = "lora"`, and below it `use_rslora = true`',),
    "pissa": ('write `kind = "lora"`, and below it `init_lora_weights = "pissa"`',),
    "olora": ('write `kind = "lora"`, and below it `init_lora_weights = "olora"`',),
    "lora+ loraplus lora_plus": ('write `kind = "lora"`, and below it `loraplus_lr_ratio = 16.0`',),
    "adalora loha lokr lycoris ia3 vera boft oft prefix prefix_tuning prompt_tuning p_tuning ptuning llama_adapter "
    "llama-adapter longlora adapter galore q_galore badam apollo lisa reft llamapro vblora hra fourierft": (
        "it is not here: ftc trains every weight (full), or adapters on the base as it is (lora) or quantized "
        "(qlora)",
    ),
}
MEANT_KINDS = {word: ways for words, ways in KINDS.items() for word in words.split()}

# What a value is called here, of a key that others have under another name and with other values.
VALUES: dict[str, dict[object, object]] = {
    "bf16": {True: "bfloat16", False: None, "true": "bfloat16", "auto": "auto"},
    "fp16": {True: "float16", False: None, "true": "float16"},
    "use_flash_attention": {True: "flash_attention_2", False: "sdpa"},
    "flash_attention": {True: "flash_attention_2", False: "sdpa"},
    "flash_attn": {True: "flash_attention_2", False: "sdpa", "disabled": "eager"},
    "sdp_attention": {True: "sdpa"},
    "lora_target_linear": {True: "all-linear"},
    "use_liger_kernel": {True: "liger", False: "none"},
    "enable_liger_kernel": {True: "liger", False: "none"},
    "liger": {True: "liger", False: "none"},
    "train_on_inputs": {True: "all", False: "assistant"},
    "train_on_input": {True: "all", False: "assistant"},
    "train_on_prompt": {True: "all", False: "assistant"},
    "mask_history": {True: "last_assistant", False: "assistant"},
    "assistant_only_loss": {True: "assistant", False: "all"},
    "completion_only_loss": {True: "assistant", False: "all"},
    "truncation": {True: "truncate", False: "error"},
    "quant_type": {"bnb_4bit": "nf4"},
    "pissa_init": {True: "pissa"},
}

# What is counted otherwise here.
REMARKS = {
    "min_lr": "a share of learning_rate",
    "eta_min": "a share of learning_rate",
    "adam_beta1": "both of them, as in `betas = [0.9, 0.999]`",
    "adam_beta2": "both of them, as in `betas = [0.9, 0.999]`",
}

NO_KEY = {word: why for words, why in REASONS.items() for word in words.split()} | dict.fromkeys(
    [*OBJECTIVES.split(), *OBJECTIVE_KEYS.split()], NO_OBJECTIVE
)
