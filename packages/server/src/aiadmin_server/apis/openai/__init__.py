"""OpenAI's API as values: its JSON as Structs, and both translations to and from core's specs. All of it pure."""
