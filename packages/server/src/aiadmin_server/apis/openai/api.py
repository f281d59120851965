"""OpenAI's API as a whole."""

from .. import Api
from .chat.route import create_chat_completion
from .completions.route import create_completion
from .embeddings.route import create_embedding
from .envelope import envelope
from .models import get_model, list_models
from .tokens.route import count_input_tokens, detokenize, tokenize

API = Api(
    name="openai",
    title="OpenAI's API",
    paths=("/v1", "/tokenize", "/detokenize"),
    routes=(
        create_chat_completion,
        create_completion,
        create_embedding,
        count_input_tokens,
        tokenize,
        detokenize,
        get_model,
        list_models,
    ),
    envelope=envelope,
    names={"constraint": "response_format", "adapters": "lora"},
    absent=(
        "/v1/assistants",
        "/v1/audio",
        "/v1/batches",
        "/v1/chatkit",
        "/v1/containers",
        "/v1/conversations",
        "/v1/evals",
        "/v1/files",
        "/v1/fine_tuning",
        "/v1/images",
        "/v1/moderations",
        "/v1/organization",
        "/v1/realtime",
        "/v1/responses",
        "/v1/skills",
        "/v1/threads",
        "/v1/uploads",
        "/v1/vector_stores",
        "/v1/videos",
    ),
)
