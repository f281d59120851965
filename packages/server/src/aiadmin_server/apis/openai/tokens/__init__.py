"""`/v1/tokenize`, `/v1/detokenize` and `/v1/chat/completions/input_tokens`."""
