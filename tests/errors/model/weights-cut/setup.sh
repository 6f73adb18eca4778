# The header says that 64 bytes follow, and 60 do.
mkdir weights; printf "{\"model_type\": \"llama\"}" > weights/config.json; printf "{\"added_tokens\": [], \"model\": {\"vocab\": {}}}" > weights/tokenizer.json
printf '\100\0\0\0\0\0\0\0%-64s%60s' '{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}' '' > weights/model.safetensors
