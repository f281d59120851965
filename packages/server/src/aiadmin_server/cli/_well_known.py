"""Names of models that programs made for OpenAI's and Anthropic's services ask for. Data, as of 2026; the patterns are
for those that came before and will come."""

CHAT = (
    "gpt-3.5-turbo",
    "gpt-4",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "o3",
    "o4-mini",
    "claude-3-5-sonnet-latest",
    "claude-3-5-haiku-latest",
    "claude-sonnet-4-5",
    "claude-opus-4-1",
    "claude-haiku-4-5",
    "gpt-*",
    "chatgpt-*",
    "codex-*",
    "claude-*",
)
EMBEDDINGS = (
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
    "text-embedding-*",
)
