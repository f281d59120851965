"""GGUF files for MLX: what one holds, and the folder of safetensors that is made of it while a model is loaded."""
