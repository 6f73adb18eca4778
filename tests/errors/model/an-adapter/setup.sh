# What git can not hold.
mkdir weights
echo '{"base_model_name_or_path": "Qwen/Qwen3-0.6B"}' > weights/adapter_config.json
