"""The table of verbs: name, module and one line of help, so that `aiadmin --help` imports none of them."""

VERBS: dict[str, str] = {
    "serve": "Serve the models of this machine over HTTP.",
    "run": "Ask a model one thing, or chat with it.",
    "pull": "Fetch a model.",
    "create": "Make a model of another one, as a Modelfile says.",
    "push": "Send a model to a registry.",
    "search": "Look for models to pull.",
    "list": "List the models and aliases of this machine.",
    "show": "Show what a model is and how its name resolves.",
    "cp": "Give a model another name.",
    "set": "Set a model's defaults.",
    "alias": "List, set and remove aliases.",
    "rm": "Remove models.",
    "ps": "List the models that are loaded.",
    "stop": "Unload a model.",
    "bench": "Measure how fast a model answers.",
    "logs": "Show the server's log, or that of a model's process.",
    "config": "Show and change settings.",
    "doctor": "Check this machine and say what to do.",
    "service": "Let the system start the server.",
    "completion": "Print what completes verbs, options and models in a shell.",
    "man": "Print the manual page.",
    "plugins": "List the installed plugins.",
}
"""In the order of `aiadmin --help`. The command is the attribute `command` of `aiadmin_server.cli.<verb>`; a test
holds its docstring to the line here."""
