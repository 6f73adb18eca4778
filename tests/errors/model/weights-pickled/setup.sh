mkdir weights; printf "{\"model_type\": \"llama\"}" > weights/config.json; printf "{}" > weights/tokenizer.json
printf 'a pickle' > weights/pytorch_model.bin
