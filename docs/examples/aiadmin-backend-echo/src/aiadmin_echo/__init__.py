"""A backend for AiAdmin that answers with your own words."""
