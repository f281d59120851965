"""Hugging Face's hub, through its own library: which files of a repository make the model, and fetching them."""
