"""From folders of safetensors, as Hugging Face's models are published, to the GGUF that llama.cpp loads.

`tensors` reads the weights, `families` knows what they are called, `vocabulary` the tokenizer, `convert` writes. None
loads the native library; numpy and gguf are needed where something is converted. Names and keys are those of
llama.cpp's convert_hf_to_gguf.py.
"""
