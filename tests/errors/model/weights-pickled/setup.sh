mkdir weights; printf "{\"model_type\": \"llama\"}" > weights/config.json; printf "{\"added_tokens\": [], \"model\": {\"vocab\": {}}}" > weights/tokenizer.json
printf 'a pickle' > weights/pytorch_model.bin
